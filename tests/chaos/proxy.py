"""What if a connection breaks in the middle? A TCP proxy on the loopback that cuts, stalls or refuses when told to."""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

CHUNK_BYTES = 65_536
ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a reset and drops what was not delivered."""


class Proxy:
    """Carries bytes between its own `port` and whatever `connect` opens, a pair of threads for each connection."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._links: set[_Link] = set()
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._refusing = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def cut(self, after_bytes: int = 0) -> None:
        """Reset every connection now, or once that many more bytes have passed through it."""
        for link in self._open_links():
            link.cut(after_bytes)

    def stall(self, stalled: bool) -> None:
        """While stalled, connections stay open and nothing passes."""
        self._flowing.clear() if stalled else self._flowing.set()

    def refuse(self, refusing: bool) -> None:
        """While refusing, there is no connection and no new one stays."""
        self._refusing = refusing
        if refusing:
            self.cut()

    def close(self) -> None:
        self.refuse(True)
        self.stall(False)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _open_links(self) -> list["_Link"]:
        with self._lock:
            return list(self._links)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        try:
            server = self._connect()
        except OSError:
            _abort(client)
            return
        link = _Link(client, server)
        with self._lock:
            self._links.add(link)
        if self._refusing:
            link.cut(0)
        back = threading.Thread(target=link.pump, args=(server, client, self._flowing), daemon=True)
        back.start()
        link.pump(client, server, self._flowing)
        back.join()
        with self._lock:
            self._links.discard(link)
        client.close()
        server.close()


class _Link:
    """Two sockets, and how many bytes may still pass between them; None: any number."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._ends = (client, server)
        self._left: int | None = None
        self._lock = threading.Lock()

    def cut(self, after_bytes: int) -> None:
        self._left = after_bytes
        if not after_bytes:
            self._abort()

    def pump(self, source: socket.socket, target: socket.socket, flowing: threading.Event) -> None:
        """One direction, to its end."""
        try:
            while data := source.recv(CHUNK_BYTES):
                flowing.wait()
                passed = self._passed(data)
                target.sendall(passed)
                if len(passed) < len(data):
                    self._abort()
                    return
            target.shutdown(socket.SHUT_WR)
        except OSError:
            self._abort()

    def _passed(self, data: bytes) -> bytes:
        with self._lock:
            if self._left is None:
                return data
            passed = data[: self._left]
            self._left -= len(passed)
            return passed

    def _abort(self) -> None:
        """Wakes both pumps; `Proxy._carry` closes once they are gone, and that sends the reset."""
        for end in self._ends:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
                end.shutdown(socket.SHUT_RDWR)


def _abort(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    end.close()
