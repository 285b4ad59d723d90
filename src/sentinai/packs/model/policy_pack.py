"""What does a Tenant Policy Pack declare?"""

from typing import Annotated

import msgspec

from sentinai.packs.annotated import doc
from sentinai.packs.model.approval_rule import ApprovalRuleDeclaration
from sentinai.packs.model.channel import Notifications, RouteDeclaration
from sentinai.packs.model.guardrails import TenantGuardrails
from sentinai.packs.model.playbook import PlaybookDeclaration
from sentinai.packs.model.severity import SeverityOverrideDeclaration
from sentinai.packs.model.sla import SlaOverride
from sentinai.packs.model.values import (
    Distinct,
    DomainName,
    Entries,
    FreeText,
    Name,
    Part,
    SemanticVersion,
    TenantId,
    Whole,
)


class RetentionPolicies(Part, frozen=True):
    """How long data is kept"""

    data_ttl: Annotated[Whole | None, doc("How many days data is kept", minimum=1)] = msgspec.field(
        default=None, name="dataTTL"
    )


class TenantPolicyPack(Part, frozen=True, kw_only=True):
    """What one tenant allows, forbids and changes in a domain"""

    kind: Annotated[str, doc("What this document is", const="TenantPolicyPack")]
    schema_version: Annotated[int, doc("Version of the format", const=1)]
    tenant_id: Annotated[TenantId, doc("The tenant")]
    domain_name: Annotated[DomainName, doc("Name of the business domain")]
    version: Annotated[SemanticVersion, doc("Semantic version; a changed pack needs a new one")]
    description: Annotated[FreeText, doc("For people")] = ""
    approved_tools: Annotated[Distinct[Name], doc("Nothing else may run")]
    custom_severity_overrides: Annotated[
        Entries[SeverityOverrideDeclaration],
        doc("The tenant's own severities; they come before every rule of the domain"),
    ] = ()
    custom_guardrails: Annotated[TenantGuardrails, doc("Tightens the domain's")] = TenantGuardrails()
    human_approval_rules: Annotated[Entries[ApprovalRuleDeclaration], doc("Who has to agree")] = ()
    auto_action_on_critical: Annotated[bool, doc("Let CRITICAL run without a person")] = False
    routing: Annotated[Entries[RouteDeclaration], doc("Which queue an exception belongs to; first match wins")] = ()
    notifications: Annotated[Notifications, doc("Where `notify` goes")] = Notifications()
    policy_tags: Annotated[Distinct[FreeText], doc("Words that expressions read as policyTags")] = ()
    sla_overrides: Annotated[Entries[SlaOverride], doc("The tenant's own deadlines")] = ()
    retention_policies: Annotated[RetentionPolicies, doc("How long data is kept")] = RetentionPolicies()
    custom_playbooks: Annotated[
        Entries[PlaybookDeclaration],
        doc("The tenant's own playbooks; they come before the domain's of the same priority"),
    ] = ()
