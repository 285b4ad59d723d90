"""Which limits hold for every tenant of a domain, and what does a tenant add?"""

from typing import Annotated, Literal, TypeAlias

from sentinai.packs.annotated import doc, limited
from sentinai.packs.effective import SEVERITIES
from sentinai.packs.model.values import Distinct, Entries, Name, Part, Share

APPROVAL_THRESHOLD = 0.0
"""Where no pack says one: never asks."""

SeverityName: TypeAlias = Annotated[str, limited(enum=list(SEVERITIES))]
"""As a key: a key that is none is reported, and the others still hold."""


class AllowLists(Part, frozen=True):
    """An absent list restricts nothing, an empty one allows nothing"""

    tools: Annotated[Distinct[Name] | None, doc("Only these tools")] = None
    actions: Annotated[Distinct[Name] | None, doc("Only these actions")] = None


class BlockLists(Part, frozen=True):
    """What never runs"""

    tools: Annotated[Distinct[Name], doc("Never these tools")] = ()
    actions: Annotated[Distinct[Name], doc("Never these actions")] = ()


class SeverityGate(Part, frozen=True):
    """Whether a severity needs a person's yes"""

    require_approval: Annotated[bool, doc("Whether a person has to agree")]


class TenantGuardrails(Part, frozen=True):
    """Limits of one tenant"""

    allow_lists: Annotated[AllowLists, doc("An absent list restricts nothing, an empty one allows nothing")] = (
        AllowLists()
    )
    block_lists: Annotated[BlockLists, doc("What never runs")] = BlockLists()
    human_approval_threshold: Annotated[Share | None, doc("Below this confidence a person decides")] = None
    severity_gates: Annotated[dict[SeverityName, SeverityGate], doc("Severities that need a person's yes")] = {}


class GuardrailsDeclaration(TenantGuardrails, frozen=True):
    """Limits for every tenant"""

    overridable: Annotated[
        Entries[Literal["allowLists", "humanApprovalThreshold", "severityGates"]], doc("What a tenant may loosen")
    ] = ()
