"""Does a pack hold together? Form, names, expressions and limits; everything is reported at once, with its place."""

from collections.abc import Iterable, Iterator

from sentinai.errors import Problem, Rejected
from sentinai.packs.checks.domain_pack import domain_findings
from sentinai.packs.checks.finding import Finding
from sentinai.packs.checks.known import KnownNames, known_of
from sentinai.packs.checks.pair import pair_findings
from sentinai.packs.checks.policy_pack import policy_findings
from sentinai.packs.checks.secret import secrets
from sentinai.packs.checks.tool import tool_findings
from sentinai.packs.content import Content
from sentinai.packs.document import PackDocument, parse
from sentinai.packs.fit import Violation, fit, violations
from sentinai.packs.model.domain_pack import DomainPack
from sentinai.packs.model.policy_pack import TenantPolicyPack
from sentinai.packs.model.tool import ToolDeclaration
from sentinai.packs.reading import read
from sentinai.packs.vocabulary import Vocabulary


def load(text: str | bytes, vocabulary: Vocabulary) -> PackDocument:
    """Parse and check. Raises Rejected with all problems."""
    document = parse(text)
    problems = check(document, vocabulary)
    if problems:
        raise Rejected(f"The pack has {len(problems)} problem(s); see errors.", problems=problems)
    return document


def check(document: PackDocument, vocabulary: Vocabulary) -> list[Problem]:
    """All problems, in the order of the document. What does not fit its type is not looked at any closer."""
    found = _domain(document.content, vocabulary) if document.kind == "DomainPack" else _policy(document, vocabulary)
    problems = [document.problem(*finding) for finding in (*found, *secrets(document.content))]
    return sorted(problems, key=lambda p: (p.line or 0, p.column or 0))


def _domain(content: Content, vocabulary: Vocabulary) -> Iterator[Finding]:
    fitting = fit(DomainPack, content, vocabulary)
    yield from _unfit(fitting.violations)
    for finding in domain_findings(fitting.document, known_of(content, vocabulary), fitting.places):
        if not fitting.places.hides(finding.pointer):
            yield finding


def _policy(document: PackDocument, vocabulary: Vocabulary) -> Iterator[Finding]:
    fitting = fit(TenantPolicyPack, document.content, vocabulary)
    yield from _unfit(fitting.violations)
    for finding in policy_findings(fitting.document, KnownNames(vocabulary), fitting.places):
        if not fitting.places.hides(finding.pointer):
            yield finding


def check_tool(name: str, definition: Content, vocabulary: Vocabulary) -> list[Problem]:
    """The same for one tool registered by itself."""
    found: Iterable[Finding] = [*_unfit(violations(ToolDeclaration, definition, vocabulary))]
    if not found:
        found = (*tool_findings(name, read(ToolDeclaration, definition), "", vocabulary), *secrets(definition))
    return [Problem(f"/definition{pointer}", detail) for pointer, detail in found]


def check_pair(domain: Content, policy: Content, vocabulary: Vocabulary) -> list[Problem]:
    """Does the policy fit the domain: its names exist there, and its guardrails only tighten? Both are checked."""
    packs = read(DomainPack, domain), read(TenantPolicyPack, policy)
    return [Problem(pointer, detail) for pointer, detail in pair_findings(*packs, known_of(domain, vocabulary))]


def _unfit(found: Iterable[Violation]) -> Iterator[Finding]:
    return (Finding(violation.pointer, violation.detail) for violation in found)
