"""Is the taxonomy in order?"""

from collections.abc import Iterator, Mapping

from sentinai.models.exception_record import UNCLASSIFIED
from sentinai.packs.checks.expression import condition, template
from sentinai.packs.checks.finding import Finding, unique
from sentinai.packs.checks.known import KnownNames, Names
from sentinai.packs.checks.sla import sla_findings
from sentinai.packs.expressions import Scope
from sentinai.packs.lineage import lineage_of
from sentinai.packs.model.exception_type import ExceptionTypeDeclaration
from sentinai.packs.places import Places
from sentinai.packs.pointer import pointer_part


def type_findings(
    types: Mapping[str, ExceptionTypeDeclaration], known: KnownNames, places: Places
) -> Iterator[Finding]:
    for name, kind in types.items():
        place = f"/exceptionTypes{pointer_part(name)}"
        yield from _parent(name, kind.parent_type, place, types, known.types)
        if name == UNCLASSIFIED:
            yield Finding(place, f"{UNCLASSIFIED} is the platform's own word")
        rules = list(places.of(kind.detection_rules, f"{place}/detectionRules"))
        yield from unique(rules, "id", lambda rule: rule.id)
        for at, rule in rules:
            yield from condition(rule.condition, Scope.DECISION, f"{at}/condition", known.context)
        yield from template(kind.title, Scope.DECISION, f"{place}/title", known.context)
        yield from sla_findings(kind.sla, f"{place}/sla")


def unknown_type(name: str | None, place: str, types: Names | None) -> Iterator[Finding]:
    """UNCLASSIFIED may be named like any other type."""
    if name is not None and types is not None and name not in types and name != UNCLASSIFIED:
        yield Finding(place, f"there is no type {name!r}")


def _parent(
    name: str, parent: str | None, place: str, types: Mapping[str, ExceptionTypeDeclaration], names: Names | None
) -> Iterator[Finding]:
    if parent is None:
        return
    if names is not None and parent not in names:
        yield Finding(f"{place}/parentType", f"there is no type {parent!r}")
    elif name in lineage_of(parent, types):
        yield Finding(f"{place}/parentType", f"{name!r} is its own ancestor")
