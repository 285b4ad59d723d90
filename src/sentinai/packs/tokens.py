"""Of which tokens does a CEL expression consist? Just enough of its lexer to know what a string or a comment holds."""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

_TOKENS = re.compile(
    r"""(?P<comment>//[^\n]*)
      |(?P<string>[bB]?[rR][bB]?(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')
        |[bB]?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
      |(?P<quoted>`[^`\n]*`)
      |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
      |(?P<number>[0-9][A-Za-z0-9_]*)
      |(?P<mark>[^\s])""",
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """`quoted` is a name in backticks, `mark` a single character; comments and white space are no tokens."""

    kind: Literal["string", "quoted", "name", "number", "mark"]
    text: str
    at: int


def tokens(text: str, at: int = 0) -> Iterator[Token]:
    """The tokens from this position on."""
    for match in _TOKENS.finditer(text, at):
        kind = match.lastgroup
        if kind != "comment":
            yield Token(kind, match[0], match.start())  # type: ignore[arg-type]  # the groups are the kinds


def nesting(text: str, macros: frozenset[str]) -> int:
    """How deep calls of these macros are nested."""
    stack: list[bool] = []
    deepest, name = 0, ""
    for token in tokens(text):
        if token.kind == "name":
            name = token.text
        elif token.text == "(":
            stack.append(name in macros)
            deepest, name = max(deepest, sum(stack)), ""
        elif token.text == ")" and stack:
            stack.pop()
            name = ""
    return deepest


def closing_brace(text: str, at: int) -> int | None:
    """Where the expression that begins here ends; braces inside it, its strings and its comments are its own."""
    depth = 1
    for token in tokens(text, at):
        if token.text in ("{", "}"):
            depth += 1 if token.text == "{" else -1
            if depth == 0:
                return token.at
    return None
