"""How do outgoing HTTP calls leave: guarded, without redirects, proxies or cookies, and with a bounded answer?"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpcore
import httpx
import msgspec

from sentinai.errors import Unavailable
from sentinai.models.json import Json
from sentinai.security.addresses import AddressGuard, GuardedBackend
from sentinai.security.masking import MASKED, mask_secret, redact_pii
from sentinai.tools.fate import BEGINNING_CHARS_MAX, AnswerUnusable, Fate, Refused, Said, Unanswered, Unsendable
from sentinai.tools.provider import ToolResult
from sentinai.tools.wire import WatchedBackend, current_wire, watching

ANSWER_BYTES_MAX = 1024 * 1024
CONNECT_TIMEOUT_S = 5.0
POOL_TIMEOUT_S = 5.0
TIMEOUT_S = 30.0
CONNECTIONS_MAX = 100
KEEPALIVE_S = 2.0
"""Shorter than servers usually keep one: a request on a connection that is just being closed may or may not arrive."""
DETAIL_CHARS_MAX = 500
TEXT_CHARS_MAX = 10_000
RETRY_AFTER_MAX_S = 3600.0
NUL_IN_JSON = b"\\u0000"
REPLACEMENT = "\ufffd"
REFUSED_FOR_NOW = frozenset({408, 425, 429})
"""The server says that it did not do it, and that it may later."""
REPEAT_ELSEWHERE = frozenset({307, 308})
"""The server says that the same request is to be made at another place: it did not do it (RFC 9110, 15.4.8 and 15.4.9)."""
_CODING = re.compile(r"[A-Za-z0-9-]{1,20}")
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}", re.ASCII)


def outbound_client(guard: AddressGuard) -> httpx.AsyncClient:
    """The client of all tools: it can only reach what the guard allows."""
    limits = httpx.Limits(max_connections=CONNECTIONS_MAX, keepalive_expiry=KEEPALIVE_S)
    transport = httpx.AsyncHTTPTransport(limits=limits, trust_env=False)
    pool: Any = transport._pool
    backend = getattr(pool, "_network_backend", None)
    assert isinstance(backend, httpcore.AsyncNetworkBackend), "the HTTP library changed: the guard cannot be put in"
    pool._network_backend = WatchedBackend(GuardedBackend(guard, backend))
    return httpx.AsyncClient(
        transport=transport,
        timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S, pool=POOL_TIMEOUT_S),
        trust_env=False,
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        headers={"User-Agent": "sentinai", "Accept": "application/json", "Accept-Encoding": "identity"},
    )


def build(
    client: httpx.AsyncClient, method: str, url: str, headers: Mapping[str, str] | httpx.Headers, body: bytes | None
) -> httpx.Request:
    """Raises Unsendable for what the library refuses and nobody here had thought of."""
    try:
        return client.build_request(method, url, headers=headers, content=body)
    except (httpx.InvalidURL, httpx.HTTPError, ValueError, TypeError) as error:
        # without its cause, which quotes the header, and so the secret
        raise Unsendable(f"the HTTP library refuses to build the request ({type(error).__name__})") from None


async def send(
    client: httpx.AsyncClient, request: httpx.Request, *, secrets: Sequence[str] = (), text_allowed: bool = False
) -> ToolResult:
    """The answer of a 2xx. Raises Refused, AnswerUnusable, Unanswered and, before the first byte, Unsendable and Denied.

    `secrets` are cut out of the answer, wherever it repeats them. An answer that is not JSON is
    `{"status_code", "text"}` where `text_allowed`, else unusable, since no schema could check it.
    """
    with watching(current_wire()) as wire:
        try:
            response = await client.send(request, stream=True)
            try:
                body, wrong = await _read(response)
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            raise _broken(wire.fate, request.url.host, error) from None
        except Unavailable as error:  # the guard's: no address
            raise Unanswered(error.message, wire.fate) from error
    _require_success(response, body, secrets)
    if wrong:
        raise _unusable(wrong, response, body, secrets)
    return _result(response, body, secrets, text_allowed)


def _broken(fate: Fate, host: str, error: httpx.HTTPError) -> Unanswered | Unsendable:
    """The library's error is not chained: it may quote a header, and so the secret."""
    kind = type(error).__name__
    if fate.sent:
        return Unanswered(f"{host} broke off: {kind}", fate)
    if isinstance(error, httpx.PoolTimeout):
        return Unanswered(f"no connection became free within {POOL_TIMEOUT_S:g} s", fate)
    if fate.ours:
        return Unsendable(f"the HTTP library refuses to send the request ({kind})")
    return Unanswered(f"cannot connect to {host}: {kind}", fate)


async def _read(response: httpx.Response) -> tuple[bytes, str | None]:
    """The body, and why it is no output: too large, or packed (how large it would become is the server's choice).

    Of an answer that is no success the beginning is enough: its status has already said what became of the call.
    """
    packed = response.headers.get("content-encoding", "identity")
    if packed.lower() != "identity":
        named = packed if _CODING.fullmatch(packed) else "something"
        return b"", f"the answer is encoded as {named}, which was not asked for"
    body = bytearray()
    try:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > ANSWER_BYTES_MAX:
                return bytes(body), f"the answer is larger than {ANSWER_BYTES_MAX} bytes"
    except httpx.HTTPError:
        if response.is_success:
            raise
    return bytes(body), None


def _require_success(response: httpx.Response, body: bytes, secrets: Sequence[str]) -> None:
    status = response.status_code
    if response.is_success:
        return
    message = f"the tool answered {status}: {_quoted(body, secrets)[:DETAIL_CHARS_MAX]}"
    if status in REFUSED_FOR_NOW or status >= 500:
        refused = status in REFUSED_FOR_NOW
        raise Unanswered(message, Fate(sent=True, refused=refused, retry_after_s=_retry_after_s(response)), status)
    if status >= 400 or status in REPEAT_ELSEWHERE:
        raise Refused(message, status)
    raise _unusable(f"the tool answered {status}, which says neither yes nor no", response, body, secrets)


def _unusable(message: str, response: httpx.Response, body: bytes, secrets: Sequence[str]) -> AnswerUnusable:
    beginning = str(redact_pii(_quoted(body, secrets)[:TEXT_CHARS_MAX]))[:BEGINNING_CHARS_MAX]
    return AnswerUnusable(message, Said(response.status_code, _media_type(response), beginning))


def _media_type(response: httpx.Response) -> str | None:
    """Without its parameters, which may say anything."""
    found = _MEDIA_TYPE.match(response.headers.get("content-type", ""))
    return found[0].lower() if found else None


def _result(response: httpx.Response, body: bytes, secrets: Sequence[str], text_allowed: bool) -> ToolResult:
    """JSON as it is; nothing as an empty object."""
    status, media_type = response.status_code, _media_type(response)
    if not body.strip():
        return ToolResult({}, status, media_type)
    try:
        decoded = msgspec.json.decode(body)
        output = _without(decoded, secrets) if secrets or NUL_IN_JSON in body else decoded
        return ToolResult(output, status, media_type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if not text_allowed:
            raise _unusable("the answer is not JSON", response, body, secrets) from None
    return ToolResult({"status_code": status, "text": _quoted(body, secrets)[:TEXT_CHARS_MAX]}, status, media_type)


def _quoted(body: bytes, secrets: Sequence[str]) -> str:
    """Text of any form; it may be JSON, which has several ways to write a secret that is not only letters."""
    escaped = [json.dumps(secret)[1:-1] for secret in secrets]
    written = [*secrets, *escaped, *(form.replace("/", "\\/") for form in escaped)]
    return mask_secret(str(_without(body.decode("utf-8", "replace"), written)))


def _without(value: Json, secrets: Sequence[str]) -> Json:
    """The value with these secrets cut out of every text, and without NUL, which no database keeps."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASKED)
        return value.replace("\0", REPLACEMENT)
    if isinstance(value, dict):
        return {_without(name, secrets): _without(inner, secrets) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without(inner, secrets) for inner in value]
    return value


def _retry_after_s(response: httpx.Response) -> float | None:
    """Seconds, or until a date, as RFC 9110 allows; at most RETRY_AFTER_MAX_S."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), RETRY_AFTER_MAX_S)
    try:
        wait_s = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(wait_s, 0.0), RETRY_AFTER_MAX_S)
