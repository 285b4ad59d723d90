"""Tool calls, and a server on this machine that answers them as a test says."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple
from uuid import UUID

from sentinai.packs.compile import compile_tool
from sentinai.packs.effective import Tool
from sentinai.tools.provider import ToolCall

EXECUTION = UUID(int=7)


class Asked(NamedTuple):
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Answer(NamedTuple):
    status: int = 200
    body: bytes = b'{"status": "ok"}'
    headers: Mapping[str, str] = {}


class Server(NamedTuple):
    url: str
    asked: list[Asked]


@contextmanager
def served(answer: Callable[[Asked], Answer | None]) -> Iterator[Server]:
    """A real HTTP server; an answer of None breaks the connection off."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append(Asked(self.command, self.path, dict(self.headers), body))
            said = answer(asked[-1])
            if said is None:
                self.connection.close()
                return
            self.send_response(said.status)
            for name, value in {"Content-Length": str(len(said.body)), **said.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said.body)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_address[1]}", asked)
    finally:
        server.shutdown()
        server.server_close()


def tool(url: str | None = None, **definition: Any) -> Tool:
    """A tool as a pack declares it; keys of the endpoint go under `endpoint`."""
    endpoint = {"url": url, **definition.pop("endpoint", {})} if url else None
    declared = {"provider": "http", "inputSchema": {"type": "object"}, **definition}
    return compile_tool("charge", declared | ({"endpoint": endpoint} if endpoint else {}))


def call(of: Tool, content: Any = None, key: str = "key-1") -> ToolCall:
    return ToolCall(EXECUTION, "acme", of, {} if content is None else content, 1, key)
