"""Are a tenant's approval rules in order?"""

from collections.abc import Iterable, Iterator

from sentinai.packs.checks.finding import Finding, unique
from sentinai.packs.checks.value import duration
from sentinai.packs.model.approval_rule import ApprovalRuleDeclaration
from sentinai.packs.places import Placed, Places


def approval_findings(rules: Iterable[Placed[ApprovalRuleDeclaration]], places: Places) -> Iterator[Finding]:
    given = list(rules)
    yield from unique(given, "id", lambda rule: rule.id)
    for place, rule in given:
        yield from duration(rule.expires_after, f"{place}/expiresAfter")
        if rule.on_expiry is not None and rule.expires_after is None and places.whole(f"{place}/expiresAfter"):
            yield Finding(f"{place}/onExpiry", "decides nothing: without expiresAfter the question never expires")
