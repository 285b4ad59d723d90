"""Is a Domain Pack in order: its names, expressions and limits?"""

from collections.abc import Iterator

from sentinai.packs.checks.exception_type import type_findings
from sentinai.packs.checks.finding import Finding
from sentinai.packs.checks.guardrails import list_findings
from sentinai.packs.checks.known import KnownNames
from sentinai.packs.checks.playbook import playbook_findings
from sentinai.packs.checks.severity import severity_findings
from sentinai.packs.checks.source import source_findings
from sentinai.packs.checks.test_case import case_findings
from sentinai.packs.checks.tool import tool_findings
from sentinai.packs.model.domain_pack import DomainPack
from sentinai.packs.places import Places
from sentinai.packs.pointer import pointer_part


def domain_findings(pack: DomainPack, known: KnownNames, places: Places) -> Iterator[Finding]:
    yield from source_findings(places.of(pack.sources, "/sources"), known)
    yield from type_findings(pack.exception_types, known, places)
    yield from severity_findings(places.of(pack.severity_rules, "/severityRules"), known)
    for name, tool in pack.tools.items():
        yield from tool_findings(name, tool, f"/tools{pointer_part(name)}", known.vocabulary, places)
    yield from playbook_findings(places.of(pack.playbooks, "/playbooks"), known, places)
    yield from list_findings(pack.guardrails, "/guardrails", known, places)
    yield from case_findings(places.of(pack.test_suites, "/testSuites"), known, places)
