"""Is a Tenant Policy Pack in order by itself? `pair` looks at the names it takes from the domain."""

from collections.abc import Iterator, Sequence

from sentinai.packs.checks.approval_rule import approval_findings
from sentinai.packs.checks.channel import channel_findings
from sentinai.packs.checks.expression import condition
from sentinai.packs.checks.finding import Finding
from sentinai.packs.checks.known import KnownNames
from sentinai.packs.checks.playbook import playbook_findings
from sentinai.packs.checks.sla import override_findings
from sentinai.packs.expressions import Scope
from sentinai.packs.model.approval_rule import ApprovalRuleDeclaration
from sentinai.packs.model.channel import RouteDeclaration
from sentinai.packs.model.policy_pack import TenantPolicyPack
from sentinai.packs.model.severity import SeverityOverrideDeclaration
from sentinai.packs.places import Placed, Places


def policy_findings(pack: TenantPolicyPack, known: KnownNames, places: Places) -> Iterator[Finding]:
    for place, text in conditions_of(pack, places):
        yield from condition(text, Scope.DECISION, place)
    yield from approval_findings(places.of(pack.human_approval_rules, "/humanApprovalRules"), places)
    yield from override_findings(places.of(pack.sla_overrides, "/slaOverrides"))
    yield from channel_findings(pack.notifications.channels, places)
    yield from playbook_findings(places.of(pack.custom_playbooks, "/customPlaybooks"), known, places)


def conditions_of(pack: TenantPolicyPack, places: Places) -> Iterator[Placed[str]]:
    """The conditions of the policy itself, without its playbooks'."""
    conditional: dict[str, Sequence[ApprovalRuleDeclaration | SeverityOverrideDeclaration | RouteDeclaration]] = {
        "humanApprovalRules": pack.human_approval_rules,
        "customSeverityOverrides": pack.custom_severity_overrides,
        "routing": pack.routing,
    }
    for key, entries in conditional.items():
        for place, entry in places.of(entries, f"/{key}"):
            if entry.when is not None:
                yield Placed(f"{place}/when", entry.when)
