"""What is a finding, and which one does every list of named entries share?"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import NamedTuple, TypeVar

from sentinai.packs.places import Placed

T = TypeVar("T")


class Finding(NamedTuple):
    """What is wrong at a JSON pointer of the document."""

    pointer: str
    detail: str


def unique(entries: Iterable[Placed[T]], key: str, named: Callable[[T], Hashable]) -> Iterator[Finding]:
    """No two entries have the same name; `key` is what the name is called in the document. None is no name."""
    seen: set[Hashable] = set()
    for place, entry in entries:
        name = named(entry)
        if name is not None and name in seen:
            yield Finding(f"{place}/{key}", f"{name!r} is there twice")
        seen.add(name)
