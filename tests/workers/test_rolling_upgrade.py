"""Can a version be replaced by the next while it runs? The code before the last change works beside today's, on one database."""

import asyncio
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from system import System, query, started

from sentinai.cli.ports import free_port

REPOSITORY = Path(__file__).parents[2]
DEADLINE_S = 60.0


def _git(*arguments: str) -> bytes:
    git = shutil.which("git") or pytest.skip("git is needed to get at the code before the last change")
    done = subprocess.run([git, "-C", str(REPOSITORY), *arguments], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"the code before the last change is not there: {done.stderr.decode()[:200]}")
    return done.stdout


@pytest.fixture(scope="module")
def previous() -> Iterator[Path]:
    """The `src` folder as it was before the last commit that changed it."""
    commits = _git("log", "-2", "--format=%H", "--", "src").decode().split()
    if len(commits) < 2:
        pytest.skip("the history has no code before the last change")
    with tempfile.TemporaryDirectory(prefix="sentinai-previous-") as folder:
        with tarfile.open(fileobj=BytesIO(_git("archive", commits[1], "src"))) as archive:
            archive.extractall(folder, filter="data")
        source = Path(folder) / "src"
        asked = [sys.executable, "-c", "import sentinai; print(sentinai.__path__[0])"]
        used = subprocess.run(asked, env=os.environ | {"PYTHONPATH": str(source)}, capture_output=True, check=True)
        assert used.stdout.decode().strip() == str(source / "sentinai"), "the previous code has to come first"
        yield source


@pytest.fixture
async def system(fresh_database: Any) -> AsyncIterator[System]:
    async with fresh_database() as url, started(url) as system:
        yield system


@contextmanager
def process(source: Path, url: str, *command: str, **variables: object) -> Iterator[subprocess.Popen[bytes]]:
    """A real process of that code."""
    environment = os.environ | {
        "PYTHONPATH": str(source),
        "SENTINAI_DATABASE_URL": url,
        "SENTINAI_WORKER_HEALTH_BASE_PORT": str(free_port()),
        "SENTINAI_LOG_LEVEL": "error",
        "SENTINAI_WORKER_BATCH_MAX": "5",
        **{name: str(value) for name, value in variables.items()},
    }
    running = subprocess.Popen([sys.executable, "-m", "sentinai.cli.main", *command], env=environment)
    try:
        yield running
    finally:
        running.terminate()
        running.wait(30)


async def until(what: Any, deadline_s: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + deadline_s
    while not await what():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.1)


async def test_the_previous_version_works_beside_todays(system: System, previous: Path) -> None:
    api_port = free_port()
    with (
        process(previous, system.url, "api", SENTINAI_API_PORT=api_port),
        process(previous, system.url, "worker") as old,
        process(REPOSITORY / "src", system.url, "worker") as new,
    ):
        pids = {old.pid, new.pid}

        async def both_work() -> bool:
            rows = await query(system.url, "select pid from worker_heartbeat")
            assert old.poll() is None, "the previous version's worker ended"
            assert new.poll() is None, "today's worker ended"
            return {row["pid"] for row in rows} == pids

        await until(both_work)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{api_port}", trust_env=False) as client:

            async def answers() -> bool:
                try:
                    return (await client.get("/health/ready")).status_code == 200
                except httpx.HTTPError:
                    return False

            await until(answers)
            client.headers["X-API-Key"] = system.keys["acme"]["operator"]
            for round_ in range(10):
                for who, name in ((client, "old"), (system.client(), "new")):
                    reports = [
                        {
                            "source_system": "psp",
                            "payload": {"id": f"{name}-{round_}-{n}", "amount": 1, "code": "card_declined"},
                        }
                        for n in range(30)
                    ]
                    answer = await who.post("/exceptions/batch", json=reports)
                    assert answer.status_code == 202, answer.text

        async def all_resolved() -> bool:
            return [tuple(r) for r in await query(system.url, "select status, count(*) from exception group by 1")] == [
                ("RESOLVED", 600)
            ]

        await until(all_resolved)

        async def both_took_part() -> bool:
            rows = await query(system.url, "select count(*) from worker_heartbeat where handled > 0")
            return int(rows[0][0]) == 2

        await until(both_took_part)
    await system.require_sound()
