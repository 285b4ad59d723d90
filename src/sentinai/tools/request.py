"""How does a tool's input get into URL, headers and body without leaving the place the pack gave it?

What the HTTP library would refuse is refused here, by a sentence that says what to fix.
"""

import re
from functools import lru_cache
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from sentinai.models.json import Json
from sentinai.packs.expressions import Activation, Scope, Template, split_template
from sentinai.tools.fate import Unsendable

HEADER_CHARS_MAX = 4_096
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
URL_CHARS_MAX = 65_536
"""The HTTP library's own limit."""
PIECE_CHARS_MAX = 2_000
HOST_CHARS_MAX = 253
LABEL_CHARS_MAX = 63
"""Both from RFC 1035."""
_FIXED_HOST = re.compile(r"https?://[^/?#@\\\s]+[/?#]", re.IGNORECASE)
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9._-]+")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NOT_FOR_HEADERS = re.compile(r"[^\x20-\x7e]")


def expand_url(template: str, facts: Activation) -> str:
    """The URL with every `${…}` percent-encoded as one piece: input can neither leave its segment nor change the host.

    Raises Unsendable for a piece that is empty or holds a dot segment, which would change the path, for a URL whose
    host is computed, missing, or behind user info, and for one that cannot be sent.
    """
    parts = split_template(template)
    computed = any(expression is not None for _, expression in parts)
    if computed and not _FIXED_HOST.match(parts[0][0]):
        raise Unsendable("the host of a URL has to be written out, before the first ${…}")
    url = "".join(literal if expression is None else _piece(expression, facts) for literal, expression in parts)
    if len(url) > URL_CHARS_MAX:
        raise Unsendable(f"the URL would have {len(url):,} characters; {URL_CHARS_MAX:,} is the limit")
    if found := CONTROL.search(url):
        raise Unsendable(f"the URL holds a control character at place {found.start()}")
    utf8("the URL", url)
    _require_host(url)
    return url


def _require_host(url: str) -> None:
    try:
        split = urlsplit(url)
        host = split.hostname
    except ValueError as error:
        raise Unsendable("the URL is malformed: its host cannot be read") from error
    if not _SCHEME.match(url) or not host:
        raise Unsendable("the URL has to be http or https, with a host")
    if "@" in split.netloc:
        raise Unsendable("the URL must not hold user info (user:password@); name a secret under auth")
    try:
        port = split.port
    except ValueError:
        port = 0
    if port == 0:
        raise Unsendable("the port of the URL is out of range; it goes from 1 to 65535")
    _require_labels(url)


def _require_labels(url: str) -> None:
    """Of the host as it is sent: in ASCII. A trailing dot is the root."""
    try:
        host = httpx.URL(url).raw_host.decode("ascii")
    except httpx.InvalidURL as error:
        raise Unsendable(f"the URL is malformed: {str(error)[:200]}") from error
    except UnicodeError as error:
        raise Unsendable("the host name of the URL cannot be written in ASCII (IDNA)") from error
    if ":" in host:
        return
    labels = host.removesuffix(".").split(".")
    if not all(labels):
        raise Unsendable(f"the host name {host[:100]!r} has an empty part between its dots")
    longest = max(map(len, labels))
    if longest > LABEL_CHARS_MAX:
        raise Unsendable(f"a part of the host name has {longest} characters; {LABEL_CHARS_MAX} is the limit")
    if len(host) > HOST_CHARS_MAX:
        raise Unsendable(f"the host name has {len(host)} characters; {HOST_CHARS_MAX} is the limit")
    if not _HOST.fullmatch(host):
        raise Unsendable(f"the host name {host[:100]!r} holds a character that no host name may hold")


def header_value(name: str, value: Json) -> str:
    """Raises Unsendable for a value that would end the header, or is no text or number. The value is never shown."""
    text = "" if value is None else str(value)
    if isinstance(value, dict | list):
        raise Unsendable(f"header {name!r} would hold a list or an object; it can hold text or a number")
    if len(text) > HEADER_CHARS_MAX:
        raise Unsendable(f"header {name!r} would have {len(text):,} characters; {HEADER_CHARS_MAX:,} is the limit")
    if found := _NOT_FOR_HEADERS.search(text):
        place = found.start()
        raise Unsendable(f"header {name!r} would hold a character at place {place} that is not printable ASCII")
    if text != text.strip(" "):
        raise Unsendable(f"header {name!r} would begin or end with a blank")
    return text


def require_header_name(name: str) -> None:
    if not HEADER_NAME.fullmatch(name):
        raise Unsendable(f"{name[:100]!r} is not a header: letters, digits and - make a name, 100 characters at most")
    if name.lower() in RESERVED_HEADERS:
        raise Unsendable(f"{name!r} is not a header that a tool may set: it belongs to the connection")


def json_body(content: Json) -> bytes:
    """Raises Unsendable for what has no JSON form. The content is never shown."""
    try:
        return msgspec.json.encode(content)
    except UnicodeEncodeError:
        raise Unsendable("the body holds text that is not Unicode (half of a surrogate pair)") from None
    except RecursionError:
        raise Unsendable("the body is nested too deep to be written as JSON") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise Unsendable(f"the body cannot be written as JSON ({type(error).__name__})") from None


def utf8(what: str, text: str) -> bytes:
    """Raises Unsendable, without the text, for half of a surrogate pair, which has no bytes."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Unsendable(f"{what} holds text that is not Unicode") from None


def _piece(expression: str, facts: Activation) -> str:
    value = _compiled(expression).render(facts)
    text = value if isinstance(value, str) else str(value)
    wrong = _wrong_in_url(value, text)
    if wrong:
        raise Unsendable(f"${{{expression}}} cannot be a part of a URL: {wrong}: {text[:100]!r}")
    return quote(utf8(f"${{{expression}}}", text), safe="")


def _wrong_in_url(value: Json, text: str) -> str | None:
    segments = re.split(r"[/\\]", text)
    if isinstance(value, dict | list | bool) or value is None:
        return "it has to be text or a number"
    if not text:
        return "it is empty"
    if len(text) > PIECE_CHARS_MAX:
        return f"it has {len(text):,} characters, and {PIECE_CHARS_MAX:,} is the limit"
    if "." in segments or ".." in segments:
        return "it holds a dot segment, which would change the path"
    return "it holds a control character" if CONTROL.search(text) else None


@lru_cache(maxsize=2_000)
def _compiled(expression: str) -> Template:
    return Template.compile(f"${{{expression}}}", Scope.TOOL)
