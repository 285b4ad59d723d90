"""How do outgoing HTTP calls leave: guarded, without redirects, proxies or cookies, and with a bounded answer?"""

from typing import Any

import httpcore
import httpx
import msgspec

from sentinai.errors import Rejected, Unavailable
from sentinai.security.addresses import AddressGuard, GuardedBackend
from sentinai.security.masking import mask_secret
from sentinai.tools.provider import ToolResult

ANSWER_BYTES_MAX = 1024 * 1024
CONNECT_TIMEOUT_S = 5.0
CONNECTIONS_MAX = 100
DETAIL_CHARS_MAX = 500
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def outbound_client(guard: AddressGuard) -> httpx.AsyncClient:
    """The client of all tools: it can only reach what the guard allows."""
    transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=CONNECTIONS_MAX), trust_env=False)
    pool: Any = transport._pool
    backend = getattr(pool, "_network_backend", None)
    assert isinstance(backend, httpcore.AsyncNetworkBackend), "the HTTP library changed: the guard cannot be put in"
    pool._network_backend = GuardedBackend(guard, backend)
    timeout = httpx.Timeout(30.0, connect=CONNECT_TIMEOUT_S)
    return httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False, follow_redirects=False)


async def send(client: httpx.AsyncClient, request: httpx.Request, *, secret: str | None = None) -> ToolResult:
    """The answer of a 2xx. Raises Rejected for what the tool refuses, Unavailable for what may succeed later.

    `secret` is cut out of whatever is quoted from the answer.
    """
    try:
        response = await client.send(request, stream=True)
    except _NOT_SENT as error:
        raise Unavailable(f"cannot connect to {request.url.host}: {type(error).__name__}", sent=False) from error
    except httpx.HTTPError as error:
        raise Unavailable(f"{request.url.host} broke off: {type(error).__name__}", sent=True) from error
    try:
        return _judge(response, await _read(response), secret)
    except httpx.HTTPError as error:
        raise Unavailable(f"{request.url.host} broke off: {type(error).__name__}", sent=True) from error
    finally:
        await response.aclose()


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise Rejected(f"the answer is larger than {ANSWER_BYTES_MAX} bytes", status_code=response.status_code)
    return bytes(body)


def _judge(response: httpx.Response, body: bytes, secret: str | None) -> ToolResult:
    status = response.status_code
    if 200 <= status < 300:
        return ToolResult(_output(body.replace(secret.encode(), b"***") if secret else body), status)
    quoted = mask_secret(_without(body.decode("utf-8", "replace"), secret))[:DETAIL_CHARS_MAX]
    message = f"the tool answered {status}: {quoted}"
    if status in TRY_AGAIN:
        raise Unavailable(message, sent=True, status_code=status, retry_after_s=_retry_after(response))
    raise Rejected(message, status_code=status)


def _output(body: bytes) -> Any:
    """JSON as it is; nothing as an empty object; anything else is refused, since no schema could check it."""
    if not body.strip():
        return {}
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected("the answer is not JSON") from error


def _without(text: str, secret: str | None) -> str:
    return text.replace(secret, "***") if secret else text


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return min(float(value), 3600.0) if value.isdigit() else None
