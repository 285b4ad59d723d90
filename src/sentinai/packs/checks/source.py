"""Are a pack's sources in order?"""

from collections.abc import Iterable, Iterator

from sentinai.packs.checks.expression import condition, template
from sentinai.packs.checks.finding import Finding, unique
from sentinai.packs.checks.known import KnownNames
from sentinai.packs.checks.value import duration
from sentinai.packs.expressions import Scope
from sentinai.packs.model.source import SourceDeclaration
from sentinai.packs.places import Placed
from sentinai.packs.pointer import pointer_part


def source_findings(sources: Iterable[Placed[SourceDeclaration]], known: KnownNames) -> Iterator[Finding]:
    given = list(sources)
    yield from unique(given, "name", lambda source: source.name)
    for place, source in given:
        yield from condition(source.match, Scope.SOURCE, f"{place}/match")
        yield from template(source.items_template, Scope.SOURCE, f"{place}/items")
        yield from template(source.fields, Scope.SOURCE, f"{place}/fields")
        yield from template(source.occurred_at, Scope.SOURCE, f"{place}/occurredAt")
        yield from template(source.dedup_key, Scope.SOURCE, f"{place}/dedupKey")
        yield from template(source.title, Scope.SOURCE, f"{place}/title")
        yield from duration(source.dedup_window, f"{place}/dedupWindow")
        yield from _undeclared(source, place, known)


def _undeclared(source: SourceDeclaration, place: str, known: KnownNames) -> Iterator[Finding]:
    """A pack that declares attributes declares all of them."""
    if known.attributes is None:
        return
    for name in source.fields:
        if name not in known.attributes:
            detail = f"no entity declares the attribute `{name}`: {known.attributes.instead_of(name)}"
            yield Finding(f"{place}/fields{pointer_part(name)}", detail)
