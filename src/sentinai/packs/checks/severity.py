"""Are the rules that decide severities in order?"""

from collections.abc import Iterable, Iterator

from sentinai.packs.checks.expression import condition, template
from sentinai.packs.checks.finding import Finding, unique
from sentinai.packs.checks.known import KnownNames
from sentinai.packs.effective import SEVERITIES
from sentinai.packs.expressions import Scope
from sentinai.packs.model.severity import SeverityRuleDeclaration
from sentinai.packs.places import Placed


def severity_findings(rules: Iterable[Placed[SeverityRuleDeclaration]], known: KnownNames) -> Iterator[Finding]:
    given = list(rules)
    yield from unique(given, "id", lambda rule: rule.id)
    for place, rule in given:
        yield from condition(rule.condition, Scope.DECISION, f"{place}/condition", known.context)
        if "${" not in rule.severity and rule.severity not in SEVERITIES:
            yield Finding(f"{place}/severity", f"{rule.severity!r} is not one of {', '.join(SEVERITIES)}")
        yield from template(rule.severity, Scope.DECISION, f"{place}/severity", known.context)
