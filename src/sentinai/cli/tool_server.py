"""What answers the sample domains' tools? A small HTTP server on this machine, for trying things out."""

import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from sentinai.models.json import Json

BODY_BYTES_MAX = 100_000
DECLINED_ENDING, BUSY_ENDING = 13, 77
"""Amounts ending in 13 are declined; those ending in 77 find the tool busy at the first attempt."""


class _QuietServer(ThreadingHTTPServer):
    """Callers that hang up are no news here: their executions are on record."""

    def handle_error(self, request: Any, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class ToolServer:
    """Answers POST with `{"status", "reference"}`; the same Idempotency-Key always gets the same answer."""

    def __init__(self, host: str, port: int) -> None:
        self.calls: Counter[str] = Counter()
        """Requests per path."""
        self.done: dict[str, dict[str, Json]] = {}
        """Answers by idempotency key: what was really done, once each."""
        self.attempts: Counter[str] = Counter()
        """Requests per idempotency key."""
        self._server = _QuietServer((host, port), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, key: str, content: Json) -> tuple[int, dict[str, Json]]:
        """Status and body for one call."""
        self.calls[path] += 1
        self.attempts[key] += 1
        if key in self.done:
            return 200, self.done[key]
        amount = content.get("amountMinor", 0) if isinstance(content, dict) else 0
        ending = amount % 100 if isinstance(amount, int) else 0
        if ending == BUSY_ENDING and self.attempts[key] == 1:
            return 503, {"error": "busy"}
        status = "declined" if ending == DECLINED_ENDING else "ok"
        self.done[key] = {"status": status, "reference": f"ref-{key[:8]}"}
        return 200, self.done[key]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = min(int(self.headers.get("Content-Length") or 0), BODY_BYTES_MAX)
                body = self.rfile.read(length)
                if not length or len(body) < length:  # cut off: even a header may be half of what was meant
                    self.close_connection = True
                    return
                try:
                    content = msgspec.json.decode(body)
                except msgspec.DecodeError:
                    content = {}
                status, answer = server.answer(self.path, self.headers.get("Idempotency-Key", ""), content)
                encoded = msgspec.json.encode(answer)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            def log_message(self, *_: object) -> None:
                """Quiet: the callers' executions are on record."""

        return Handler
