"""What has to survive? The real processes of three tenants, clients that report and approve, and what must hold after."""

import asyncio
import os
import random
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from kafka_server import KafkaServer
from proxy import Proxy
from sample_packs import DOMAIN, policy_for
from system import query, require_sound

from sentinai.bootstrap import build_commands, opened, prepare_database
from sentinai.cli.ports import free_port
from sentinai.cli.supervisor import Supervisor
from sentinai.cli.tool_server import ToolServer
from sentinai.events.catalog import TOPICS
from sentinai.infrastructure.database import OWNER
from sentinai.infrastructure.embedded_cluster import DEFAULT_PORT
from sentinai.packs.check import load
from sentinai.services.setup import first_keys, install_packs
from sentinai.services.vocabulary import VOCABULARY
from sentinai.settings import Settings

TENANTS = ("acme", "beta", "gamma")
SETTLE_DEADLINE_S = 120.0
LEASE_S = 61.0
"""Past the time that a tool call of a killed worker stays reserved."""
BATCH = 20
REPEATED_MAX = 200
PAUSE_S = 0.05
"""Between batches: the processes are away half of the time and have to catch up."""
CODES = ("refund_stuck", "review", "lost", "chargeback", *["retry"] * 4, *["card_declined"] * 12)
NOT_NOW = (401, 403, 409, 503)
"""Answers that accept nothing: the database is away, or an approval is not open any more."""
_ASK = "{name: ask, action: request_approval, params: {reason: Refund again?, expiresAfter: 3s}}"
_UNSETTLED = """select count(*) from exception where pending > 0 or status = 'OPEN'
  or (status = 'IN_PROGRESS' and exception_type <> 'MANUAL_REVIEW')"""


class CountingTools(ToolServer):
    """Remembers also for which path each key did something."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1", 0)
        self.done_for: dict[str, list[str]] = {}

    def answer(self, path: str, key: str, content: Any) -> tuple[int, dict[str, Any]]:
        if key not in self.done:
            self.done_for.setdefault(path, []).append(key)
        return super().answer(path, key, content)


@dataclass
class Tenant:
    """Its people: one reports, another answers approvals."""

    admin: httpx.Client
    approver: httpx.Client
    accepted: list[str] = field(default_factory=list)


class Running:
    """The system under its supervisor; proxies stand before the database, the tool server and Kafka."""

    def __init__(self, folder: Path, broker: str = "postgres") -> None:
        self.tenants: dict[str, Tenant] = {}
        self.answered: Counter[str] = Counter()
        self.findings: dict[str, int] = {}
        self.url = ""
        self._number = 0
        self._clock = folder / "clock"
        self._furthest_s = 0.0
        self.tools = CountingTools()
        self.proxies = {
            "database": Proxy(self._connect_database),
            "tool": Proxy(lambda: socket.create_connection(("127.0.0.1", self.tools.port), 5)),
        }
        self.kafka: KafkaServer | None = None
        options: dict[str, Any] = {
            "data_dir": folder,
            "api_port": free_port(),
            "worker_processes": 2,
            "worker_health_base_port": free_port(),
        }
        if broker == "kafka":
            kafka_port = free_port()
            proxy = Proxy(lambda: socket.create_connection(("127.0.0.1", kafka_port), 5))
            self.proxies["kafka"] = proxy
            self.kafka = KafkaServer(folder / "kafka", kafka_port, advertised=proxy.port)
            options |= {
                "broker": "kafka",
                "kafka_bootstrap_servers": f"127.0.0.1:{proxy.port}",
                "kafka_partitions": 4,
            }
        self.settings = Settings(_env_file=None, **options)
        environment = os.environ | {f"SENTINAI_{name.upper()}": str(value) for name, value in options.items()}
        environment |= {
            "SENTINAI_TOOL_ALLOWED_HOSTS": "127.0.0.1",
            "SENTINAI_SECRET_SHARED__PSP_API_KEY": "chaos",
            "SENTINAI_LOG_LEVEL": "error",
            "SENTINAI_TEST_CLOCK": str(self._clock),
            "PYTHONPATH": str(Path(__file__).parent / "children"),
        }
        self.supervisor = Supervisor(self.settings, environment, lambda _: None)
        self.watcher = threading.Thread(target=self.supervisor.watch, daemon=True)

    async def start(self) -> None:
        self.set_clock(0)
        self.tools.start()
        if self.kafka is not None:
            self.kafka.start()
        self.url = self.supervisor.start_database()
        port = self.proxies["database"].port
        self.supervisor.environment["SENTINAI_DATABASE_URL"] = f"postgresql://postgres@127.0.0.1:{port}/sentinai"
        await prepare_database(self.url, self.settings)
        pack = load(domain_with_tools_at(self.proxies["tool"].port), VOCABULARY)
        async with opened(self.url, OWNER) as owner:
            commands = build_commands(owner)
            for name in TENANTS:
                keys = await first_keys(commands, name)
                await install_packs(commands, name, pack, load(policy_for(name), VOCABULARY))
                self.tenants[name] = Tenant(self._client(keys.key), self._client(keys.approver_key))
        self.supervisor.start_processes()
        if self.kafka is not None:
            self.supervisor.start_process("relay 2", ["worker", "relay", "--number", "1"])
        self.supervisor.await_ready()
        self.watcher.start()

    @property
    def accepted(self) -> int:
        return sum(len(tenant.accepted) for tenant in self.tenants.values())

    def processes(self) -> dict[str, int]:
        """Process ids by name, of what runs."""
        found = {c.name: c.process.pid for c in self.supervisor.children if c.process and c.process.poll() is None}
        if self.supervisor.server is not None and (database := self.supervisor.server.pid):
            found["database"] = database
        if self.kafka is not None:
            found["kafka"] = self.kafka.pid
        return found

    def repeat_messages(self, rng: random.Random) -> int:
        """Produce the newest messages of one of Kafka's partitions once more, in any order; how many. Kafka may be away."""
        address = {"bootstrap.servers": self.settings.kafka_bootstrap_servers, "log_level": 0}
        topic = self.settings.kafka_prefix + rng.choice(TOPICS)
        place = TopicPartition(topic, rng.randrange(self.settings.kafka_partitions))
        consumer = Consumer(address | {"group.id": "chaos", "enable.auto.commit": False})
        try:
            low, high = consumer.get_watermark_offsets(place, timeout=8)
            place.offset = max(low, high - REPEATED_MAX)
            consumer.assign([place])
            there = consumer.consume(high - place.offset, timeout=2)
        except KafkaException:
            return 0
        finally:
            consumer.close()
        messages = [message for message in there if not message.error()]
        rng.shuffle(messages)
        producer = Producer(address | {"message.timeout.ms": 2_000})
        for m in messages:
            producer.produce(place.topic, m.value(), m.key(), place.partition, headers=m.headers())
        producer.flush(2)
        return len(messages)

    def set_clock(self, offset_s: float) -> None:
        """Workers read it with their next look at the clock; replaced whole, so never half-written."""
        self._furthest_s = max(self._furthest_s, offset_s)
        new = self._clock.with_suffix(".new")
        new.write_text(str(offset_s))
        new.replace(self._clock)

    def work(self) -> int:
        """One batch of a tenant's reports and answers to its newest approvals; how many reports were accepted."""
        name = TENANTS[self._number // BATCH % len(TENANTS)]
        tenant, accepted = self.tenants[name], 0
        batch = [report(n) for n in range(self._number, self._number + BATCH)]
        self._number += BATCH
        with suppress(httpx.HTTPError):  # without an answer nobody knows whether it was stored, and that is allowed
            answer = tenant.admin.post("/exceptions/batch", json=batch)
            assert answer.status_code in (202, *NOT_NOW), answer.text
            if answer.status_code == 202:
                tenant.accepted += answer.json()["exception_ids"]
                accepted = len(batch)
            self._answer_approvals(tenant.approver)
        time.sleep(PAUSE_S)
        return accepted

    def await_accepted(self, batches: int = 10) -> None:
        """Work on until the system, which comes back by itself, accepted so many batches."""
        deadline = time.monotonic() + SETTLE_DEADLINE_S
        wanted = self.accepted + batches * BATCH
        while self.accepted < wanted:
            self.work()
            assert self.watcher.is_alive(), "the supervisor died"
            assert time.monotonic() < deadline, f"no {batches} batches in {SETTLE_DEADLINE_S:.0f} s: {self.processes()}"

    def require_settled(self) -> None:
        """Every exception comes to rest: at an end, or waiting for a person."""
        self.set_clock(self._furthest_s + LEASE_S)  # instead of waiting for leases of the dead and what is due later
        deadline = time.monotonic() + SETTLE_DEADLINE_S
        while self._count(_UNSETTLED):
            assert time.monotonic() < deadline, self._query(
                "select tenant_id, status, pending, exception_type, state from exception where pending > 0 limit 3"
            )
            time.sleep(0.2)

    def require_nothing_lost(self) -> None:
        for name, tenant in self.tenants.items():
            assert tenant.accepted, f"nothing of {name} was accepted"
            known = {str(r[0]) for r in self._query("select exception_id from exception where tenant_id = $1", name)}
            self.findings["lost"] = self.findings.get("lost", 0) + sum(i not in known for i in tenant.accepted)
        assert self.findings["lost"] == 0, self.findings
        dead = self._query("select tenant_id, consumer, error, message from parked limit 5")
        assert not dead, dead

    def require_tools_agree(self) -> None:
        """What our ledger calls a success was done; nothing was done twice; no request that the ledger did not make."""
        rows = self._query("select execution_id::text, status, attempts from tool_execution where not is_channel")
        attempts = {row[0]: row[2] for row in rows}
        succeeded = {row[0] for row in rows if row[1] == "SUCCEEDED"}
        assert succeeded, "no tool was called"
        unfounded = succeeded - set(self.tools.done)
        unexplained = {k: (n, attempts.get(k)) for k, n in self.tools.attempts.items() if n > attempts.get(k, 0)}
        charges = {path: keys for path, keys in self.tools.done_for.items() if path.startswith("/charges/")}
        twice = {path: keys for path, keys in charges.items() if len(keys) > 1}
        resolved_twice = self._count(
            """select count(*) from (select stream from event where type = 'ExceptionResolved'
               group by tenant_id, stream having count(*) > 1) twice"""
        )
        self.findings |= {
            "doubled": len(twice) + resolved_twice,
            "calls done": len(self.tools.done),
            "calls repeated": sum(self.tools.attempts.values()) - len(self.tools.attempts),
        }
        assert not unfounded, f"successes that never happened: {sorted(unfounded)[:5]}"
        assert not unexplained, f"(requests, attempts in the ledger): {dict(list(unexplained.items())[:5])}"
        assert not twice, dict(list(twice.items())[:5])
        assert resolved_twice == 0

    async def require_survived(self) -> None:
        """Everything came to rest, nothing is lost or doubled, the record is whole. Ends the processes."""
        await asyncio.to_thread(self.require_settled)
        self.stop_processes()
        await asyncio.to_thread(self.require_nothing_lost)
        await asyncio.to_thread(self.require_tools_agree)
        await require_sound(self.url)

    def stop_processes(self) -> None:
        """All but the database."""
        self.supervisor.stopping = True
        self.watcher.join()
        for child in self.supervisor.children:
            if child.process is not None:
                child.process.terminate()
        for child in self.supervisor.children:
            if child.process is not None:
                child.process.wait(30)

    def stop(self) -> None:
        self.supervisor.stopping = True
        if self.watcher.is_alive():
            self.watcher.join()
        for tenant in self.tenants.values():
            tenant.admin.close()
            tenant.approver.close()
        self.supervisor.stop()
        for proxy in self.proxies.values():
            proxy.close()
        self.tools.stop()
        if self.kafka is not None:
            self.kafka.kill()

    def _answer_approvals(self, approver: httpx.Client) -> None:
        """Of three approvals one is granted, one rejected, and one left to expire."""
        page = approver.get("/approvals", params={"status": "PENDING", "limit": 5})
        for approval in page.json().get("items", ()):
            name = approval["approval_id"]
            said = ("approve", "reject", None)[UUID(name).int % 3]
            if said is not None:
                answer = approver.post(f"/approvals/{name}/{said}", json={})
                assert answer.status_code in (202, *NOT_NOW), answer.text
                self.answered[said] += answer.status_code == 202

    def _client(self, key: str) -> httpx.Client:
        address = f"http://127.0.0.1:{self.settings.api_port}"
        return httpx.Client(base_url=address, timeout=5, trust_env=False, headers={"X-API-Key": key})

    def _connect_database(self) -> socket.socket:
        assert self.supervisor.server is not None
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(5)
        connection.connect(str(self.supervisor.server.cluster.socket_dir() / f".s.PGSQL.{DEFAULT_PORT}"))
        connection.settimeout(None)
        return connection

    def _count(self, sql: str) -> int:
        return int(self._query(sql)[0][0])

    def _query(self, sql: str, *arguments: Any) -> list[Any]:
        """From a thread without a loop; the database may just be coming back, and this waits for it."""
        for _ in range(100):
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return asyncio.run(query(self.url, sql, *arguments))
            time.sleep(0.2)
        return asyncio.run(query(self.url, sql, *arguments))


def report(number: int) -> dict[str, Any]:
    code = CODES[number % len(CODES)]
    retry = code == "retry"
    payload = {"id": f"chaos-{number}", "amount": 5, "code": "card_declined" if retry else code, "retry": retry}
    return {"source_system": "psp", "payload": payload}


def domain_with_tools_at(port: int) -> str:
    """The tests' pack; refunds wait for an approval that soon expires, and deadlines come within reach of the clock's steps."""
    changes = (
        ("127.0.0.1:9/", f"127.0.0.1:{port}/"),
        ("'has(rawPayload.retry) && rawPayload.retry'", "'rawPayload.retry'"),
        ("resolveWithin: 4h, warnBefore: 30m", "resolveWithin: 4m, warnBefore: 1m"),
        ("      - {name: again,", f"      - {_ASK}\n      - {{name: again,"),
    )
    text = DOMAIN
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text
