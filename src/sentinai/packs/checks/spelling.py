"""Is a name one of those that are known, and which one was probably meant?"""

from collections.abc import Iterable
from difflib import get_close_matches

NAMES_SHOWN_MAX = 20
SUGGESTIONS_MAX = 100
"""Different names for which a close one is looked for: comparing costs about 1 µs for each name there is."""
COMPARED_MAX = 1_000


class Spelling:
    """The known names of one kind."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        self._sorted = sorted(self.names)
        self._suggested: dict[str, str | None] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def instead_of(self, name: str) -> str:
        """What was probably meant, or else what there is."""
        if name not in self._suggested and len(self._suggested) < SUGGESTIONS_MAX:
            close = get_close_matches(name, self._sorted[:COMPARED_MAX], n=1)
            self._suggested[name] = close[0] if close else None
        meant = self._suggested.get(name)
        if meant is not None:
            return f"did you mean `{meant}`?"
        shown = self._sorted[:NAMES_SHOWN_MAX]
        return f"there are {', '.join(shown)}{', …' if len(self._sorted) > len(shown) else ''}"
