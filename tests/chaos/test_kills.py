"""Kill or freeze any process at any moment, while exceptions flow: nothing accepted is lost, nothing is done twice.

SENTINAI_TEST_SEED repeats a run's choices, SENTINAI_TEST_FAULTS sets how many faults the long run makes.
"""

import asyncio
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from kafka_server import KafkaServer
from sample_packs import DOMAIN, policy_for
from system import query, require_sound

from sentinai.bootstrap import build_commands, opened, prepare_database
from sentinai.cli.bench.http import free_port
from sentinai.cli.supervisor import Supervisor
from sentinai.cli.tool_server import ToolServer
from sentinai.infrastructure.database import OWNER
from sentinai.packs.check import load
from sentinai.services.setup import first_keys, install_packs
from sentinai.settings import Settings

SETTLE_DEADLINE_S = 120.0
FAULTS = int(os.environ.get("SENTINAI_TEST_FAULTS", "40"))
CODES = ("card_declined", "retry", "chargeback", "lost", "review")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not below pytest's own folder, which other runs close to the database's user."""
    with tempfile.TemporaryDirectory(prefix="sentinai-chaos-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.mark.parametrize("faults", [4, pytest.param(FAULTS, marks=pytest.mark.slow)], ids=["short", "long"])
@pytest.mark.parametrize("broker", ["postgres", "kafka"])
async def test_nothing_is_lost_or_doubled_when_processes_die(
    folder: Path, faults: int, broker: str, request: pytest.FixtureRequest
) -> None:
    kafka = None
    if broker == "kafka":
        request.getfixturevalue("kafka")  # skips where there is none
        kafka = KafkaServer(folder / "kafka")
        kafka.start()
    seed = int(os.environ.get("SENTINAI_TEST_SEED", random.SystemRandom().randrange(10**6)))
    print(f"seed {seed} (SENTINAI_TEST_SEED={seed} repeats the choices)")
    tools = ToolServer("127.0.0.1", 0)
    tools.start()
    running = Running(folder, tools, kafka)
    try:
        await running.start()
        await asyncio.to_thread(running.torment, random.Random(seed), faults)
        await running.require_everything_settled()
        running.stop_processes()
        await require_sound(running.url)
        await running.require_tools_agree()
    finally:
        print(f"{len(running.accepted)} accepted, faults {dict(running.faults)}")
        running.stop()
        tools.stop()
        if kafka is not None:
            kafka.kill()


class Running:
    """The real processes under their supervisor, and a client that reports and remembers what was accepted."""

    def __init__(self, folder: Path, tools: ToolServer, kafka: KafkaServer | None) -> None:
        self.tools = tools
        self.kafka = kafka
        self.port = free_port()
        self.accepted: list[str] = []
        self.faults: Counter[str] = Counter()
        over_kafka: dict[str, Any] = {}
        if kafka is not None:
            over_kafka = {"broker": "kafka", "kafka_bootstrap_servers": kafka.bootstrap, "kafka_partitions": 4}
        self.settings = settings = Settings(
            **over_kafka,
            _env_file=None,
            data_dir=folder,
            api_port=self.port,
            worker_processes=2,
            worker_health_base_port=free_port(),
        )
        environment = (
            os.environ
            | {
                "SENTINAI_DATA_DIR": str(folder),
                "SENTINAI_API_PORT": str(self.port),
                "SENTINAI_WORKER_HEALTH_BASE_PORT": str(settings.worker_health_base_port),
                "SENTINAI_TOOL_ALLOWED_HOSTS": "127.0.0.1",
                "SENTINAI_SECRET_SHARED__PSP_API_KEY": "chaos",
                "SENTINAI_LOG_LEVEL": "error",
            }
            | {f"SENTINAI_{name.upper()}": str(value) for name, value in over_kafka.items()}
        )
        self.supervisor = Supervisor(settings, environment, lambda _: None)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=5, trust_env=False)
        self.watcher = threading.Thread(target=self.supervisor.watch, daemon=True)
        self.url = ""

    async def start(self) -> None:
        self.url = self.supervisor.start_database()
        await prepare_database(self.url, self.settings)
        pack = DOMAIN.replace("127.0.0.1:9/", f"127.0.0.1:{self.tools.port}/").replace(
            "'has(rawPayload.retry) && rawPayload.retry'", "'rawPayload.retry'"
        )
        async with opened(self.url, OWNER) as owner:
            commands = build_commands(owner)
            keys = await first_keys(commands, "acme")
            await install_packs(commands, "acme", (load(pack), load(policy_for("acme"))))
        self.client.headers["X-API-Key"] = keys.key
        self.supervisor.start_processes()
        self.supervisor.await_ready()
        self.watcher.start()

    def torment(self, rng: random.Random, faults: int) -> None:
        """Report all the time, and kill or freeze one process after the other."""
        number, remaining = 0, faults
        next_kill = time.monotonic() + 0.5
        while remaining:
            number += self._report(number)
            if time.monotonic() >= next_kill:
                remaining -= self._fault(rng)
                next_kill = time.monotonic() + rng.uniform(0.3, 1.0)
        for _ in range(5):
            number += self._report(number)

    def stop_processes(self) -> None:
        """All but the database."""
        self.supervisor.stopping = True
        self.watcher.join()
        for child in self.supervisor.children:
            if child.process is not None:
                child.process.terminate()
                child.process.wait(10)

    def stop(self) -> None:
        self.client.close()
        self.supervisor.stopping = True
        if self.watcher.is_alive():
            self.watcher.join()
        self.supervisor.stop()

    async def require_everything_settled(self) -> None:
        """Every accepted exception has its row and comes to rest: at an end, or waiting for a person."""
        assert self.accepted
        deadline = time.monotonic() + SETTLE_DEADLINE_S
        unsettled = """select count(*) from exception where pending > 0 or status = 'OPEN'
          or (status = 'IN_PROGRESS' and exception_type <> 'MANUAL_REVIEW')"""
        while (await self._query(unsettled))[0][0]:
            assert time.monotonic() < deadline, await self._query(
                "select status, pending, state from exception where pending > 0 limit 3"
            )
            await asyncio.sleep(0.2)
        known = {str(row[0]) for row in await self._query("select exception_id from exception")}
        lost = [i for i in self.accepted if i not in known]
        assert not lost, f"{len(lost)} of {len(self.accepted)} lost; {dict(self.faults)}"
        dead = await self._query("select consumer, error, message from parked limit 5")
        assert not dead, dead

    async def require_tools_agree(self) -> None:
        """What the tool server did, it did once a key; what our ledger calls a success, it did."""
        rows = await self._query(
            "select execution_id::text, status, attempts from tool_execution where tool = 'retryCharge'"
        )
        succeeded = {row[0] for row in rows if row[1] == "SUCCEEDED"}
        assert succeeded <= set(self.tools.done)
        feedback = await self._query(
            """select count(*) from (select stream from event where type = 'ExceptionResolved'
               group by stream having count(*) > 1) twice"""
        )
        assert feedback[0][0] == 0
        assert sum(row[2] for row in rows) >= len(succeeded)

    async def _query(self, sql: str) -> Any:
        for _ in range(100):
            with suppress(Exception):
                return await query(self.url, sql)
            await asyncio.sleep(0.2)
        return await query(self.url, sql)

    def _report(self, number: int) -> int:
        """A batch; without an answer nobody knows whether it was stored, and that is allowed."""
        batch = [
            {
                "source_system": "psp",
                "payload": {"id": f"chaos-{n}", "amount": 5, "code": code, "retry": code == "retry"},
            }
            for n in range(number, number + 20)
            for code in [CODES[n % len(CODES)]]
        ]
        for report in batch:
            payload: dict[str, Any] = report["payload"]  # type: ignore[assignment]
            payload["code"] = "card_declined" if payload["code"] == "retry" else payload["code"]
        with suppress(httpx.HTTPError):
            answer = self.client.post("/exceptions/batch", json=batch)
            if answer.status_code == 202:
                self.accepted += answer.json()["exception_ids"]
            else:
                assert answer.status_code in (503, 403, 401), answer.text
        return len(batch)

    def _fault(self, rng: random.Random) -> int:
        """Kill or freeze one process that runs; 0 when the chosen one was just dead."""
        targets: list[tuple[str, int | None]] = [
            (child.name, child.process.pid if child.process else None) for child in self.supervisor.children
        ]
        targets.append(("database", self.supervisor.server.pid if self.supervisor.server else None))
        if self.kafka is not None:
            targets.append(("kafka", self.kafka.pid))
        name, pid = rng.choice(targets)
        freeze_s = rng.choice((0.0, 0.0, rng.uniform(0.2, 2.0)))
        if pid is None:
            return 0
        with suppress(ProcessLookupError):
            if freeze_s:
                os.kill(pid, signal.SIGSTOP)
                time.sleep(freeze_s)
                os.kill(pid, signal.SIGCONT)
            elif name == "kafka" and self.kafka is not None:
                self.kafka.kill()
                self.kafka.start()
            else:
                os.kill(pid, signal.SIGKILL)
        self.faults[f"{'froze' if freeze_s else 'killed'} {name}"] += 1
        return 1
