"""Do playbooks hold together, and can it be told which of two is taken?"""

from collections.abc import Collection, Iterable, Iterator
from itertools import combinations

from sentinai.packs.checks.exception_type import unknown_type
from sentinai.packs.checks.expression import condition
from sentinai.packs.checks.finding import Finding
from sentinai.packs.checks.known import KnownNames
from sentinai.packs.checks.step import step_findings
from sentinai.packs.expressions import Scope
from sentinai.packs.model.playbook import PlaybookDeclaration
from sentinai.packs.model.values import ENTRIES_MAX
from sentinai.packs.places import Placed, Places


def playbook_findings(
    playbooks: Iterable[Placed[PlaybookDeclaration]], known: KnownNames, places: Places
) -> Iterator[Finding]:
    given = list(playbooks)
    seen: set[tuple[str, int]] = set()
    for place, playbook in given:
        for at, name in places.of(playbook.match.exception_types, f"{place}/match/exceptionTypes"):
            yield from unknown_type(name, at, known.types)
        yield from condition(playbook.match.when, Scope.DECISION, f"{place}/match/when", known.context)
        yield from step_findings(playbook, place, known, places)
        if (playbook.name, playbook.version) in seen and places.whole(f"{place}/version"):
            yield Finding(f"{place}/name", f"{playbook.name!r} version {playbook.version} is there twice")
        seen.add((playbook.name, playbook.version))
    ranked = [one for one in given if all(places.whole(f"{one.place}/{key}") for key in _RANKS)]
    for (_, one), (place, other) in combinations(ranked[:ENTRIES_MAX], 2):
        if _ties(one, other):
            yield Finding(place, f"can never be told from playbook {one.name!r}: give one a higher priority")


_RANKS = ("match", "priority", "version")
"""What decides which of two playbooks is taken."""


def _ties(one: PlaybookDeclaration, other: PlaybookDeclaration) -> bool:
    """Same rank, same `when`, and an exception that both of them fit."""
    if (one.priority, one.version, one.match.when) != (other.priority, other.version, other.match.when):
        return False
    return _meet(one.match.exception_types, other.match.exception_types) and _meet(
        one.match.severities, other.match.severities
    )


def _meet(mine: Collection[str], theirs: Collection[str]) -> bool:
    """Whether both say nothing, or something in common."""
    return not (mine or theirs) or not set(mine).isdisjoint(theirs)
