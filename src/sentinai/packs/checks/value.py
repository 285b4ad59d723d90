"""Is a single value of a pack in order: a duration, a URL, a JSON Schema?"""

import re
from collections.abc import Iterator

from sentinai.errors import Rejected
from sentinai.models.json import Json
from sentinai.packs.checks.finding import Finding
from sentinai.packs.duration import parse_duration
from sentinai.packs.json_schema import compile_schema

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
_END = r"(?=[/?#]|$)"
_HTTPS = re.compile(rf"https://{_HOST}{_END}")
LOOPBACK = re.compile(rf"http://(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{{1,5}})?{_END}")


def duration(text: str | None, place: str, max_s: float | None = None) -> Iterator[Finding]:
    """More than nothing, and at most `max_s`."""
    if text is None:
        return
    try:
        seconds = parse_duration(text)
    except Rejected as error:
        yield Finding(place, error.message)
    else:
        if seconds <= 0:
            yield Finding(place, "has to be longer than nothing")
        elif max_s is not None and seconds > max_s:
            yield Finding(place, f"{text} is longer than {max_s:g}s")


def json_schema(schema: Json, place: str) -> Iterator[Finding]:
    try:
        compile_schema(schema)
    except Rejected as error:
        yield Finding(place, error.message)


def url(text: str, place: str) -> Iterator[Finding]:
    """https to a host that is written out; plain http only to this machine itself."""
    if _HTTPS.match(text) or LOOPBACK.match(text):
        return
    if "${" in re.split(r"[/?#]", text.partition("://")[2])[0]:
        yield Finding(place, "the host cannot be computed")
    elif text.startswith("https://"):
        yield Finding(place, "has to name a host, without user name or password")
    else:
        yield Finding(place, "has to be https (plain http only to this machine itself)")
