"""Is a single value of a pack in order: an expression, a duration, a URL, a JSON Schema; and is it no secret?"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from sentinai.errors import Problem, Rejected
from sentinai.packs.duration import parse_duration
from sentinai.packs.expressions import Condition, Scope, Template
from sentinai.packs.json_schema import compile_schema
from sentinai.packs.pointer import pointer_part

Finding = tuple[str, str]
"""(pointer, detail)"""

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
_END = r"(?=[/?#]|$)"
_HTTPS = re.compile(rf"https://{_HOST}{_END}")
LOOPBACK = re.compile(rf"http://(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{{1,5}})?{_END}")
_SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\b[sr]k_(?:live|test|sentinai)_\w{8,}"
    r"|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bxox[abprs]-[\w-]{10,}|\bAIza[\w-]{35}\b"
    r"|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+|\b[a-z][a-z0-9+.-]*://[^\s/:@${]+:[^\s/@${]+@"
)


def condition(text: Any, scope: Scope, place: str) -> Iterator[Finding]:
    if text is not None:
        try:
            Condition.compile(text, scope)
        except Rejected as error:
            yield from _expression(error, place)


def template(value: Any, scope: Scope, place: str) -> Iterator[Finding]:
    if value is not None:
        try:
            Template.compile(value, scope)
        except Rejected as error:
            yield from _expression(error, place)


def _expression(error: Rejected, place: str) -> Iterator[Finding]:
    for problem in error.problems or (Problem("", error.message),):
        at = f" (line {problem.line}, column {problem.column} of the expression)" if problem.line else ""
        yield place + problem.pointer, problem.detail + at


def duration(text: Any, place: str, max_s: float | None = None) -> Iterator[Finding]:
    """More than nothing, and at most `max_s`."""
    if text is None:
        return
    try:
        seconds = parse_duration(text)
    except Rejected as error:
        yield place, error.message
    else:
        if seconds <= 0:
            yield place, "has to be longer than nothing"
        elif max_s is not None and seconds > max_s:
            yield place, f"{text} is longer than {max_s:g}s"


def json_schema(schema: Any, place: str) -> Iterator[Finding]:
    try:
        compile_schema(schema)
    except Rejected as error:
        yield place, error.message


def url(text: Any, place: str) -> Iterator[Finding]:
    """https to a host that is written out; plain http only to this machine itself."""
    if not isinstance(text, str) or _HTTPS.match(text) or LOOPBACK.match(text):
        return
    if "${" in re.split(r"[/?#]", text.partition("://")[2])[0]:
        yield place, "the host cannot be computed"
    elif text.startswith("https://"):
        yield place, "has to name a host, without user name or password"
    else:
        yield place, "has to be https (plain http only to this machine itself)"


def unique(entries: Iterable[Any], key: str, place: str) -> Iterator[Finding]:
    seen: set[str] = set()
    for n, entry in enumerate(entries):
        name = entry.get(key)
        if name is not None and name in seen:
            yield f"{place}/{n}/{key}", f"{name!r} is there twice"
        elif name is not None:
            seen.add(name)


def secrets(value: Any, place: str = "") -> Iterator[Finding]:
    """Everything that looks like a secret, wherever it stands."""
    if isinstance(value, str) and _SECRET.search(value):
        yield place, "looks like a secret: name one instead (secret: NAME)"
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from secrets(inner, place + pointer_part(key))
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield from secrets(inner, f"{place}/{n}")
