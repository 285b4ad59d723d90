"""Are guardrails in order, and does a tenant only tighten what is not its to loosen?"""

from collections.abc import Iterator

from sentinai.packs.checks.finding import Finding
from sentinai.packs.checks.known import KnownNames, Names
from sentinai.packs.model.guardrails import APPROVAL_THRESHOLD, GuardrailsDeclaration, TenantGuardrails
from sentinai.packs.places import Places


def list_findings(guardrails: TenantGuardrails, place: str, known: KnownNames, places: Places) -> Iterator[Finding]:
    """Only what there is can be allowed or blocked."""
    actions = frozenset(word.name for word in known.vocabulary.actions)
    for which, lists in (("allowLists", guardrails.allow_lists), ("blockLists", guardrails.block_lists)):
        yield from _unknown(lists.tools, f"{place}/{which}/tools", known.tools, places)
        yield from _unknown(lists.actions, f"{place}/{which}/actions", actions, places)


def _unknown(listed: tuple[str, ...] | None, place: str, names: Names | None, places: Places) -> Iterator[Finding]:
    kind = place.rpartition("/")[2].removesuffix("s")
    for at, name in places.of(listed or (), place):
        if names is not None and name not in names:
            yield Finding(at, f"there is no {kind} {name!r}")


def loosening_findings(domain: GuardrailsDeclaration, tenant: TenantGuardrails, place: str) -> Iterator[Finding]:
    free = domain.overridable
    limit, own = domain.human_approval_threshold or APPROVAL_THRESHOLD, tenant.human_approval_threshold
    if own is not None and own < limit and "humanApprovalThreshold" not in free:
        detail = f"loosens the domain's {limit}, which is not overridable"
        yield Finding(f"{place}/humanApprovalThreshold", detail)
    for kind, wanted, allowed in (
        ("tools", tenant.allow_lists.tools, domain.allow_lists.tools),
        ("actions", tenant.allow_lists.actions, domain.allow_lists.actions),
    ):
        extra = set(wanted or ()) - set(allowed) if allowed is not None else set()
        if extra and "allowLists" not in free:
            yield Finding(f"{place}/allowLists/{kind}", f"allows {', '.join(sorted(extra))} beyond the domain's list")
    for severity, gate in tenant.severity_gates.items():
        gated = severity in domain.severity_gates and domain.severity_gates[severity].require_approval
        if gated and not gate.require_approval and "severityGates" not in free:
            detail = "opens a gate of the domain, which is not overridable"
            yield Finding(f"{place}/severityGates/{severity}", detail)
