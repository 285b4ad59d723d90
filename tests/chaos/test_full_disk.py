"""The database's disk is full for a while, under load: nothing accepted is lost, and all goes on once there is room."""

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from running import Running

DISK = "512m"
"""Room for the cluster and the write-ahead log that it keeps, 256 MB."""
REFUSED_DEADLINE_S = 60.0
FULL_S = 5.0
BLOCK = bytes(65_536)
pytestmark = pytest.mark.slow


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small file system of its own."""
    with tempfile.TemporaryDirectory(prefix="sentinai-disk-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0755", "tmpfs", name]
        try:
            done = subprocess.run(mount, capture_output=True, text=True, timeout=10, check=False)
        except FileNotFoundError:
            pytest.skip("there is no mount command")
        if done.returncode:
            pytest.skip(f"this user may not mount a small disk: {done.stderr.strip()}")
        yield Path(name)
        subprocess.run(["umount", "-l", name], timeout=10, check=True)


async def test_a_full_disk_loses_nothing(disk: Path) -> None:
    running = Running(disk)
    try:
        await running.start()
        await asyncio.to_thread(_fill_and_free, running, disk)
        await running.require_survived()
    finally:
        print(f"{running.accepted} accepted, {running.findings}")
        running.stop()


def _fill_and_free(running: Running, disk: Path) -> None:
    running.await_accepted()
    ballast = disk / "ballast"
    _fill(ballast)
    deadline = time.monotonic() + REFUSED_DEADLINE_S
    while running.work():  # as long as there is room in files that exist already
        _fill(ballast)
        assert time.monotonic() < deadline, "the full disk was never felt"
    full_until = time.monotonic() + FULL_S
    while time.monotonic() < full_until:
        running.work()
    said = running.supervisor.server.cluster.log.read_text() if running.supervisor.server else ""
    assert "No space left on device" in said
    ballast.unlink()
    running.await_accepted()


def _fill(ballast: Path) -> None:
    """Take whatever is left."""
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while file.write(BLOCK):
            pass
