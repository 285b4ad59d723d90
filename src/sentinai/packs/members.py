"""Which members of a variable does an expression read, by name?"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sentinai.packs.expressions import EXPRESSION_CHARS_MAX
from sentinai.packs.tokens import Token, tokens

_BEFORE_A_KEY = frozenset("([{,?:&|")
"""What may stand before `"x" in variable` when "x" is the whole key."""
_STRING = re.compile(r"([rR]?)(\"{3}|'{3}|\"|')(.*)\2", re.DOTALL)


class Member(NamedTuple):
    """A name that is read, and where it stands in the expression (from 1)."""

    name: str
    line: int
    column: int


def members_read(text: str, variable: str) -> Iterator[Member]:
    """Of `v.x`, `v.?x`, `v["x"]`, `v[?"x"]`, `has(v.x)` and `"x" in v`; a name that is computed cannot be known."""
    found = list(tokens(text)) if len(text) <= EXPRESSION_CHARS_MAX else []  # a longer one is refused anyway
    for n, token in enumerate(found):
        before = found[max(0, n - 3) : n]
        if token.kind != "name" or token.text != variable or _is_selected(before):
            continue
        for read in (_selected(found[n + 1 : n + 5]), _looked_for(before)):
            name = _name(read) if read is not None else None
            if read is not None and name is not None:
                line_begins = text.rfind("\n", 0, read.at) + 1
                yield Member(name, text.count("\n", 0, read.at) + 1, read.at - line_begins + 1)


def _is_selected(before: Sequence[Token]) -> bool:
    """Whether the name that follows is a member itself, as in `other.variable` and `other.?variable`."""
    texts = [token.text for token in before[-2:]]
    return texts[-1:] == ["."] or texts == [".", "?"]


def _selected(after: Sequence[Token]) -> Token | None:
    """The member in `.x`, `.?x`, `["x"]` or `[?"x"]`; `.x(` calls a function."""
    opening, rest = [token.text for token in after[:1]], after[1:]
    if rest and rest[0].text == "?":
        rest = rest[1:]
    following = rest[1].text if len(rest) > 1 else ""
    if opening == ["."] and rest and rest[0].kind in ("name", "quoted") and following != "(":
        return rest[0]
    if opening == ["["] and rest and rest[0].kind == "string" and following == "]":
        return rest[0]
    return None


def _looked_for(before: Sequence[Token]) -> Token | None:
    """The key in `"x" in variable`."""
    *further, key, word = [None, None, None, *before][-3:]
    whole = further[0] is None or further[0].text in _BEFORE_A_KEY
    return (
        key if word is not None and word.text == "in" and key is not None and key.kind == "string" and whole else None
    )


def _name(token: Token) -> str | None:
    """None for a string that has to be decoded first."""
    if token.kind != "string":
        return token.text.strip("`")
    match = _STRING.fullmatch(token.text)
    return match[3] if match and (match[1] or "\\" not in match[3]) else None
