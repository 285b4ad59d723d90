"""How does a tool's input get into URL and headers without leaving the place the pack gave it?"""

import re
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlsplit

from sentinai.errors import Rejected
from sentinai.packs.expressions import Activation, Scope, Template, split_template

HEADER_VALUE = re.compile(r"[\x20-\x7e]{0,4096}")
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
RESERVED_HEADERS = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "upgrade",
        "te",
        "trailer",
        "expect",
        "accept-encoding",
    }
)
"""They belong to the connection, not to the pack."""
_FIXED_HOST = re.compile(r"https?://[^/?#@\\\s]+[/?#]", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
PIECE_CHARS_MAX = 2_000


def expand_url(template: str, facts: Activation) -> str:
    """The URL with every `${…}` percent-encoded as one piece: input can neither leave its segment nor change the host.

    Raises Rejected for a piece that is empty or holds a dot segment, which would change the path, and for a URL whose
    host is computed, missing, or behind user info.
    """
    parts = split_template(template)
    computed = any(expression is not None for _, expression in parts)
    if computed and not _FIXED_HOST.match(parts[0][0]):
        raise Rejected("the host of a URL has to be written out")
    url = "".join(literal if expression is None else _piece(expression, facts) for literal, expression in parts)
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError as error:
        raise Rejected("the URL is malformed") from error
    if split.scheme not in ("http", "https") or not split.hostname or "@" in split.netloc or port == 0:
        raise Rejected("the URL has to be http or https, with a host and without user info")
    return url


def header_value(name: str, value: Any) -> str:
    """Raises Rejected for a value that would end the header, or is no text or number."""
    text = "" if value is None else str(value)
    if isinstance(value, dict | list) or not HEADER_VALUE.fullmatch(text):
        raise Rejected(f"header {name!r} would hold what no header may hold")
    return text


def require_header_name(name: str) -> None:
    if not HEADER_NAME.fullmatch(name) or name.lower() in RESERVED_HEADERS:
        raise Rejected(f"{name!r} is not a header that a tool may set")


def _piece(expression: str, facts: Activation) -> str:
    value = _compiled(expression).render(facts)
    text = value if isinstance(value, str) else str(value)
    segments = re.split(r"[/\\]", text)
    wrong = isinstance(value, dict | list | bool) or value is None or len(text) > PIECE_CHARS_MAX
    if wrong or not text or "." in segments or ".." in segments or _CONTROL.search(text):
        raise Rejected(f"${{{expression}}} cannot be a part of a URL: {text[:100]!r}")
    return quote(text, safe="")


@lru_cache(maxsize=2_000)
def _compiled(expression: str) -> Template:
    return Template.compile(f"${{{expression}}}", Scope.TOOL)
