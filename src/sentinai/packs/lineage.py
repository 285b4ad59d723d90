"""From which more general types does a type come?"""

from collections.abc import Mapping

from sentinai.packs.model.exception_type import ExceptionTypeDeclaration


def lineage_of(name: str, declared: Mapping[str, ExceptionTypeDeclaration]) -> tuple[str, ...]:
    """The type and its ancestors up to the root; a cycle or an unknown parent ends it (the checks report those)."""
    lineage: dict[str, None] = {}
    current: str | None = name
    while current is not None and current in declared and current not in lineage:
        lineage[current] = None
        current = declared[current].parent_type
    return tuple(lineage)
