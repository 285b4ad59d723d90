"""Where in the document does an entry stand, and is there something around it that could not be read?"""

from collections.abc import Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Placed(NamedTuple, Generic[T]):
    """An entry of a list, and its JSON pointer in the document."""

    place: str
    entry: T


class Places:
    """`amiss` are the pointers of all values that do not fit, `dropped` of those entries that were left out."""

    def __init__(self, amiss: Iterable[str] = (), dropped: Iterable[str] = ()) -> None:
        self.amiss = frozenset(amiss)
        self.dropped = frozenset(dropped)
        self._around = {above for pointer in (*self.amiss, *self.dropped) for above in _up(pointer)}

    def of(self, entries: Iterable[T], place: str) -> Iterator[Placed[T]]:
        """The entries of the list at `place`, with the pointers that they have in the document."""
        number = 0
        for entry in entries:
            while f"{place}/{number}" in self.dropped:
                number += 1
            yield Placed(f"{place}/{number}", entry)
            number += 1

    def whole(self, place: str) -> bool:
        """Whether everything that was written at this place and below it has been read."""
        return place not in self._around

    def hides(self, place: str) -> bool:
        """Whether something was already said of this value or one around it."""
        return not self.amiss.isdisjoint(_up(place))


def _up(pointer: str) -> Iterator[str]:
    """The pointer itself and all above it, but not the whole document."""
    while pointer:
        yield pointer
        pointer = pointer.rpartition("/")[0]


EVERYTHING_READ = Places()
