"""Do the chaos suite's own tools do what the suite relies on?"""

import os
import socket
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from proxy import Proxy

from sentinai.bootstrap import now
from sentinai.cli.tool_server import ToolServer

SENT = b"x" * 100


@pytest.mark.parametrize(("argument", "offset_s"), [("worker", 600), ("api", 0)])
def test_workers_read_their_clock_from_the_file(tmp_path: Path, argument: str, offset_s: int) -> None:
    clock = tmp_path / "clock"
    clock.write_text("600")
    environment = {"SENTINAI_TEST_CLOCK": str(clock), "PYTHONPATH": str(Path(__file__).parent / "children")}
    program = "from sentinai.bootstrap import build_platform, now; print(now().isoformat())"
    done = subprocess.run(
        [sys.executable, "-c", program, argument],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    off = datetime.fromisoformat(done.stdout.strip()) - now()
    assert abs(off - timedelta(seconds=offset_s)) < timedelta(seconds=70), done.stderr


def test_a_connection_is_cut_after_so_many_bytes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = Proxy(lambda: socket.create_connection(server.getsockname(), 5))
        with socket.create_connection(("127.0.0.1", proxy.port), 5) as client, server.accept()[0] as accepted:
            accepted.settimeout(5)
            client.sendall(SENT)
            assert _read(accepted, len(SENT)) == SENT
            proxy.cut(after_bytes=30)
            client.sendall(SENT)
            assert _read(accepted, len(SENT)) == SENT[:30]
        proxy.close()


def test_a_stalled_connection_goes_on_and_a_refused_one_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = Proxy(lambda: socket.create_connection(server.getsockname(), 5))
        with socket.create_connection(("127.0.0.1", proxy.port), 5) as client, server.accept()[0] as accepted:
            proxy.stall(True)
            client.sendall(SENT)
            accepted.settimeout(0.2)
            with pytest.raises(TimeoutError):
                accepted.recv(1)
            threading.Timer(0.1, proxy.stall, (False,)).start()
            accepted.settimeout(5)
            assert _read(accepted, len(SENT)) == SENT
            proxy.refuse(True)
            assert _read(accepted, 1) == b""
        proxy.close()


def _read(end: socket.socket, count: int) -> bytes:
    """Up to the count, or what came before the end."""
    read = b""
    try:
        while len(read) < count and (more := end.recv(count - len(read))):
            read += more
    except ConnectionError:
        pass
    return read


@pytest.mark.parametrize("cut_at", [b"43b2f9fe", b"Content-Length: 1", b'{"amou'])
def test_the_tool_server_does_nothing_for_a_request_that_was_cut_off(cut_at: bytes) -> None:
    """Half a key would look like another call."""
    request = b'POST /refunds HTTP/1.1\r\nIdempotency-Key: 43b2f9fe-1\r\nContent-Length: 18\r\n\r\n{"amountMinor": 5}'
    tools = ToolServer("127.0.0.1", 0)
    tools.start()
    for sent in (request[: request.index(cut_at) + len(cut_at)], request):
        with socket.create_connection(("127.0.0.1", tools.port), 5) as client:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            _read(client, 100_000)
    tools.stop()
    assert tools.attempts == {"43b2f9fe-1": 1}
