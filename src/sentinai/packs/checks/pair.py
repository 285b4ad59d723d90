"""Does a tenant's policy fit the domain: do its names exist there, and do its guardrails only tighten?"""

from collections.abc import Iterator

from sentinai.models.exception_record import UNCLASSIFIED
from sentinai.packs.checks.channel import PLACE as CHANNELS
from sentinai.packs.checks.expression import misspelt
from sentinai.packs.checks.finding import Finding
from sentinai.packs.checks.guardrails import list_findings, loosening_findings
from sentinai.packs.checks.known import KnownNames
from sentinai.packs.checks.playbook import playbook_findings
from sentinai.packs.checks.policy_pack import conditions_of
from sentinai.packs.model.domain_pack import DomainPack
from sentinai.packs.model.playbook import PlaybookDeclaration
from sentinai.packs.model.policy_pack import TenantPolicyPack
from sentinai.packs.places import EVERYTHING_READ


def pair_findings(domain: DomainPack, policy: TenantPolicyPack, known: KnownNames) -> Iterator[Finding]:
    """Both were read as a whole; `known` is what the domain declares."""
    if domain.domain_name != policy.domain_name:
        detail = f"is {policy.domain_name!r}, the domain pack's is {domain.domain_name!r}"
        yield Finding("/domainName", detail)
    for place, tool in EVERYTHING_READ.of(policy.approved_tools, "/approvedTools"):
        if tool not in domain.tools:
            yield Finding(place, f"the domain pack has no tool {tool!r}")
    yield from _types(policy, known)
    for placed in conditions_of(policy, EVERYTHING_READ):
        yield from misspelt(placed, known.context)
    own = EVERYTHING_READ.of(policy.custom_playbooks, "/customPlaybooks")
    yield from playbook_findings(own, known, EVERYTHING_READ)
    yield from list_findings(policy.custom_guardrails, "/customGuardrails", known, EVERYTHING_READ)
    yield from loosening_findings(domain.guardrails, policy.custom_guardrails, "/customGuardrails")
    for playbook in (*domain.playbooks, *policy.custom_playbooks):
        yield from _channels(playbook, policy, known)


def _types(policy: TenantPolicyPack, known: KnownNames) -> Iterator[Finding]:
    named: dict[str, list[str | None]] = {
        "customSeverityOverrides": [one.exception_type for one in policy.custom_severity_overrides],
        "slaOverrides": [one.exception_type for one in policy.sla_overrides],
        "humanApprovalRules": [one.exception_type for one in policy.human_approval_rules],
    }
    for key, types in named.items():
        for place, name in EVERYTHING_READ.of(types, f"/{key}"):
            if name is not None and known.types is not None and name not in (*known.types, UNCLASSIFIED):
                yield Finding(f"{place}/exceptionType", f"the domain pack has no type {name!r}")


def _channels(playbook: PlaybookDeclaration, policy: TenantPolicyPack, known: KnownNames) -> Iterator[Finding]:
    """Channels are the tenant's, and playbooks of both packs name them."""
    for step in playbook.steps:
        action = known.vocabulary.action(step.action)
        for one in action.parameters if action else ():
            channel = step.params.get(one.name, "")
            if one.refers_to == "channel" and "${" not in str(channel) and channel not in policy.notifications.channels:
                detail = f"playbook {playbook.name!r} notifies channel {channel!r}, which is not here"
                yield Finding(CHANNELS, detail)
