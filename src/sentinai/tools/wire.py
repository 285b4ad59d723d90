"""Has the first byte of this attempt left? Seen on the connection itself, not guessed from how the attempt failed."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from ssl import SSLContext
from typing import Any

import httpcore

from sentinai.tools.fate import Fate


class Phase(Enum):
    """In the order in which an attempt comes through them."""

    PREPARING = "preparing"
    """The request is built, or waits for a pooled connection."""
    CONNECTING = "connecting"
    """Name, TCP and TLS; what goes wrong here is the tool's, or the way to it."""
    CONNECTED = "connected"
    SENT = "sent"
    """At least one byte of the request was handed to the network."""


class Wire:
    """How far one attempt came."""

    __slots__ = ("phase",)

    def __init__(self, phase: Phase = Phase.PREPARING) -> None:
        self.phase = phase

    def came_to(self, phase: Phase) -> None:
        """What was sent stays sent, even if the attempt connects once more."""
        if self.phase is not Phase.SENT:
            self.phase = phase

    @property
    def fate(self) -> Fate:
        """If the attempt ended now, without an error that knows more."""
        ours = self.phase in (Phase.PREPARING, Phase.CONNECTED)
        return Fate(sent=self.phase is Phase.SENT, ours=ours)


_CURRENT: ContextVar[Wire | None] = ContextVar("wire", default=None)


@contextmanager
def watching(wire: Wire) -> Iterator[Wire]:
    """What this task connects to and sends meanwhile is noted on this wire. Tasks do not see each other's."""
    token = _CURRENT.set(wire)
    try:
        yield wire
    finally:
        _CURRENT.reset(token)


def current_wire() -> Wire:
    """That of the attempt under way; a new one outside of any."""
    return _CURRENT.get() or Wire()


class WatchedBackend(httpcore.AsyncNetworkBackend):
    """Notes on the current wire how far each connection comes."""

    def __init__(self, inner: httpcore.AsyncNetworkBackend) -> None:
        self._inner = inner

    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        wire = current_wire()
        wire.came_to(Phase.CONNECTING)
        stream = await self._inner.connect_tcp(*args, **options)
        wire.came_to(Phase.CONNECTED)
        return WatchedStream(stream)

    async def connect_unix_socket(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return await self._inner.connect_unix_socket(*args, **options)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class WatchedStream(httpcore.AsyncNetworkStream):
    """What is written here is the request: the handshake of TLS goes through the stream inside."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - the library's
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the library's
        """Noted before, since a write that is cut off may have sent a part. Of a pooled stream, on the writer's wire."""
        if buffer:
            current_wire().came_to(Phase.SENT)
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is the library's
    ) -> httpcore.AsyncNetworkStream:
        wire = current_wire()
        wire.came_to(Phase.CONNECTING)
        stream = await self._inner.start_tls(ssl_context, server_hostname, timeout)
        wire.came_to(Phase.CONNECTED)
        return WatchedStream(stream)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
