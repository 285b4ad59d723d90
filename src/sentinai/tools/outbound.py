"""How do outgoing HTTP calls leave: guarded, without redirects, proxies or cookies, and with a bounded answer?"""

import json
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpcore
import httpx
import msgspec

from sentinai.errors import Rejected, Unavailable
from sentinai.security.addresses import AddressGuard, GuardedBackend
from sentinai.security.masking import MASKED, mask_secret
from sentinai.tools.provider import ToolResult

ANSWER_BYTES_MAX = 1024 * 1024
CONNECT_TIMEOUT_S = 5.0
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
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


def outbound_client(guard: AddressGuard) -> httpx.AsyncClient:
    """The client of all tools: it can only reach what the guard allows."""
    limits = httpx.Limits(max_connections=CONNECTIONS_MAX, keepalive_expiry=KEEPALIVE_S)
    transport = httpx.AsyncHTTPTransport(limits=limits, trust_env=False)
    pool: Any = transport._pool
    backend = getattr(pool, "_network_backend", None)
    assert isinstance(backend, httpcore.AsyncNetworkBackend), "the HTTP library changed: the guard cannot be put in"
    pool._network_backend = GuardedBackend(guard, backend)
    return httpx.AsyncClient(
        transport=transport,
        timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S, pool=CONNECT_TIMEOUT_S),
        trust_env=False,
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        headers={"User-Agent": "sentinai", "Accept": "application/json", "Accept-Encoding": "identity"},
    )


async def send(
    client: httpx.AsyncClient, request: httpx.Request, *, secrets: Sequence[str] = (), text_allowed: bool = False
) -> ToolResult:
    """The answer of a 2xx. Raises Rejected for what the tool refuses, Unavailable for what may succeed later.

    `secrets` are cut out of the answer, wherever it repeats them. An answer that is not JSON is
    `{"status_code", "text"}` where `text_allowed`, else refused, since no schema could check it.
    """
    try:
        response = await client.send(request, stream=True)
        try:
            body = await _read(response)
        finally:
            await response.aclose()
    except _NOT_SENT as error:
        raise Unavailable(f"cannot connect to {request.url.host}: {type(error).__name__}", sent=False) from error
    except httpx.HTTPError as error:
        raise Unavailable(f"{request.url.host} broke off: {type(error).__name__}", sent=True) from error
    _require_success(response, body, secrets)
    return ToolResult(_output(response, body, secrets, text_allowed), response.status_code)


async def _read(response: httpx.Response) -> bytes:
    """Raises Rejected for one that is too large, or packed: how large it would become is the server's choice."""
    packed = response.headers.get("content-encoding", "identity")
    if packed.lower() != "identity":
        raise Rejected(f"the answer is encoded as {packed[:50]!r}, which was not asked for")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise Rejected(f"the answer is larger than {ANSWER_BYTES_MAX} bytes", status_code=response.status_code)
    return bytes(body)


def _require_success(response: httpx.Response, body: bytes, secrets: Sequence[str]) -> None:
    status = response.status_code
    if 200 <= status < 300:
        return
    quoted = _quoted(body, secrets)[:DETAIL_CHARS_MAX]
    message = f"the tool answered {status}: {quoted}"
    if status in REFUSED_FOR_NOW or status >= 500:
        sent = status not in REFUSED_FOR_NOW
        raise Unavailable(message, sent=sent, status_code=status, retry_after_s=_retry_after_s(response))
    raise Rejected(message, status_code=status)


def _output(response: httpx.Response, body: bytes, secrets: Sequence[str], text_allowed: bool) -> Any:
    """JSON as it is; nothing as an empty object."""
    if not body.strip():
        return {}
    try:
        decoded = msgspec.json.decode(body)
        return _without(decoded, secrets) if secrets or NUL_IN_JSON in body else decoded
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if not text_allowed:
            raise Rejected("the answer is not JSON", status_code=response.status_code) from error
    text = _quoted(body, secrets)[:TEXT_CHARS_MAX]
    return {"status_code": response.status_code, "text": text}


def _quoted(body: bytes, secrets: Sequence[str]) -> str:
    """Text of any form; it may be JSON, which has several ways to write a secret that is not only letters."""
    escaped = [json.dumps(secret)[1:-1] for secret in secrets]
    written = [*secrets, *escaped, *(form.replace("/", "\\/") for form in escaped)]
    return mask_secret(str(_without(body.decode("utf-8", "replace"), written)))


def _without(value: Any, secrets: Sequence[str]) -> Any:
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
