"""Runs under the code before the change: brings exceptions into every state that can be in flight, and stops there.

    in_flight.py <database url> <port of the tools' server> <file for what a test has to know>
    in_flight.py <database url>     a tool worker that takes what was asked for, and dies with it

Which workers run when is what makes the states: those that a stage has yet to take are made last, the earliest stage at the
very end. `test_upgrade.py` says what has to become of each.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from sample_packs import DOMAIN
from system import System, configure, query, started, step

from sentinai.bootstrap import built_runner, prepare_database
from sentinai.errors import Rejected, Unavailable
from sentinai.events.envelope import partition_of
from sentinai.settings import Settings
from sentinai.workers.catalog import STAGES

HUGE = 6_000_000
"""Above what the tests' policy lets run without a yes."""
EVERYBODY = [name for name in STAGES if name != "sla"]
DEADLINE, EXPIRY = timedelta(hours=24), timedelta(hours=8)
"""Of the exceptions here, and of the questions whether a playbook may run."""
MOMENT = timedelta(minutes=5)
LEASES_END = "update tool_execution set due_at = now(), lease_until = now() where status = 'RUNNING'"
FREE_TOOL = {
    "description": "Called by a person, outside of any playbook",
    "provider": "log",
    "inputSchema": {"type": "object"},
}


class Builder:
    """Reports exceptions by name; `ids` and `payloads` (where its id there is not its name) are told the test."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.ids: dict[str, str] = {}
        self.approvals: dict[str, str] = {}
        self.payloads: dict[str, str] = {}

    async def report(self, code: str, *names: str, **more: Any) -> None:
        """One exception for each name; the name is also what tools are called with."""
        for name in names:
            self.ids[name] = await self.post({"id": name, "amount": 500, "code": code, **more})

    async def report_outside(self, partitions: set[int], name: str) -> None:
        """One whose events are in none of these partitions; those that were reported in vain stay, too."""
        for number in count():
            payload = f"{name}-{number}"
            await self.report("refund_stuck", payload)
            if self.partition(payload) not in partitions:
                self.ids[name], self.payloads[name] = self.ids.pop(payload), payload
                return

    async def post(self, payload: Any, source: str = "psp") -> str:
        body = {"source_system": source, "payload": payload}
        answer = await self.system.client("operator").post("/exceptions", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["exception_id"])

    async def person(self, role: str, path: str, body: Any) -> None:
        answer = await self.system.client(role).post(path, json=body)
        assert answer.status_code == 202, (path, answer.text)

    async def on(self, command: str, *names: str, **body: Any) -> None:
        for name in names:
            await self.person("admin", f"/exceptions/{self.ids[name]}/{command}", body)

    async def answer(self, word: str, *names: str) -> None:
        await self.keep_approvals()
        for name in names:
            await self.person("approver", f"/approvals/{self.approvals[name]}/{word}", {"comment": "before"})

    async def keep_approvals(self) -> None:
        rows = await query(
            self.system.url, "select exception_id::text, approval_id::text from approval where status = 'PENDING'"
        )
        found = {row["exception_id"]: row["approval_id"] for row in rows}
        self.approvals |= {name: found[of] for name, of in self.ids.items() if of in found}

    def partition(self, name: str) -> int:
        return partition_of("acme", f"exception/{self.ids[name]}")

    @asynccontextmanager
    async def earlier(self, delta: timedelta) -> AsyncIterator[None]:
        """Reports arrive that long ago."""
        commands = self.system.app.state.services.commands
        real = commands.clock
        object.__setattr__(commands, "clock", lambda: real() - delta)
        yield
        object.__setattr__(commands, "clock", real)

    async def work(self, names: Sequence[str], prepare: Callable[[Any], None] = lambda _: None) -> None:
        """Have these workers work until nothing is left for them."""
        async with built_runner(self.system.settings, self.system.url, list(names)) as runner:
            prepare(runner)
            idle = 0
            while idle < 2:
                idle = 0 if await step(runner) else idle + 1


def slow_clock(delta: timedelta) -> Callable[[Any], None]:
    def plant(runner: Any) -> None:
        real = runner.platform.clock
        object.__setattr__(runner.platform, "clock", lambda: real() - delta)

    return plant


def unable(runner: Any) -> None:
    """Events that the policy stage cannot handle: for good, or for now."""
    (policy,) = [worker for worker in runner.workers if worker.name == "policy"]
    handle = policy.handle

    def faulty(work: Any) -> Any:
        name = work.state.raw_payload["id"]
        if name.startswith("dead-letter"):
            raise Rejected("planted: a person has to look")
        if name == "parked":
            raise Unavailable("planted: later perhaps")
        return handle(work)

    policy.handle = faulty


def dying(runner: Any, names: str = "died") -> None:
    """Calls whose process dies before it can record the answer."""
    invoke = runner.executor._invoke

    async def died(call: Any) -> Any:
        result = await invoke(call)
        if names in json.dumps(call.input):
            raise asyncio.CancelledError
        return result

    runner.executor._invoke = died


async def at_rest(b: Builder) -> None:
    """Everything that the workers had to do is done: what waits now waits for a person, for time, or for nothing."""
    async with b.earlier(EXPIRY + MOMENT):
        await b.report("chargeback", "question-expired", amount=HUGE)
    await b.work(EVERYBODY, slow_clock(EXPIRY + MOMENT))
    async with b.earlier(DEADLINE + MOMENT):
        await b.report("chargeback", "overdue-question", amount=HUGE)
        await b.report("review", "overdue-step-question")
    await b.report("card_declined", "resolved", "reopened")
    await b.report("unheard of", "unclassified")
    await b.report("lost", "blocked")
    await b.report("chargeback", "question", "granted", "rejected", "question-decided-anew", amount=HUGE)
    await b.report("chargeback", "taken-over", "question-repeated", "question-withdrawn", amount=HUGE)
    await b.report("refund_stuck", "call-question", "call-granted", amount=HUGE)
    await b.report("review", "person", "person-done", "person-skipped", "person-decided-anew")
    await b.report("review", "step-question", "step-granted", "step-rejected")
    await b.report("refund_stuck", "refunded", "refunded-reopened")
    await b.report("refund_stuck", "unknown", "unknown-decided-anew", "refund-died", "refund-died-done")
    await b.report("card_declined", "charged", "charge-died", "charge-died-decided-anew", retry=True)
    await b.report("card_declined", "backoff", "backoff-decided-anew", "backoff-done", "backoff-taken-over", retry=True)
    await b.report("review", "repeated")
    await b.work(EVERYBODY, dying)
    await b.report("card_declined", "dead-letter", "dead-letter-discarded")
    await b.work(EVERYBODY, unable)
    b.ids["merged"] = await b.post({"id": "repeated", "amount": 500, "code": "review"})
    asking = ("overdue-step-question", "step-question", "step-granted", "step-rejected")
    await b.on("playbook/steps/1/complete", *asking, comment="looked")
    await b.on("escalate", "taken-over", reason="mine")
    await b.work(EVERYBODY)
    await b.work(["sla"])
    await b.work(EVERYBODY)


async def not_taken(b: Builder) -> None:
    """What stages have yet to take, the latest stage first: no stage works any more after the one whose events are to stay."""
    async with b.earlier(DEADLINE + MOMENT):
        await b.report("chargeback", "overdue", amount=HUGE)
        await b.report("review", "overdue-person")
        await b.report("refund_stuck", "overdue-call")
    await b.report("refund_stuck", "asked", "asked-done", "asked-taken-over", "asked-decided-anew")
    held = {b.partition(name) for name in b.ids if name.startswith(("asked", "overdue-call"))}
    for name in ("answered", "unknown-answer"):
        await b.report_outside(held, name)
    await b.work(["intake", "triage", "policy", "playbook"])
    await calls_of(b, {b.partition(name) for name in ("answered", "unknown-answer")})
    await b.work(["sla"])
    await b.report("card_declined", "chosen", "parked")
    await b.work(["intake", "triage", "policy"], unable)
    await b.report("card_declined", "triaged")
    await b.work(["intake", "triage"])
    await b.report("card_declined", "normalized")
    await b.work(["intake"])
    await b.report("card_declined", "reported")
    b.ids["delivery"] = await b.post({"failures": [{"id": "d1", "amount": 1}, {"id": "d2", "amount": 2}]}, "psp-batch")
    b.ids["repeats"] = await b.post({"id": "question-repeated", "amount": HUGE, "code": "chargeback"})


async def calls_of(b: Builder, partitions: set[int]) -> None:
    """Have the calls made that were asked for in these partitions; what they answered stays for the playbook stage."""
    async with built_runner(b.system.settings, b.system.url, ["tool"]) as runner:
        (worker,) = runner.workers
        for partition in partitions:
            while await worker._attempt(1_000, partition):
                pass
        await runner.executor.take()
        await runner.executor.drain(10)


async def people(b: Builder) -> None:
    """What persons said and no stage has taken in."""
    await b.answer("approve", "granted", "call-granted", "step-granted")
    await b.answer("reject", "rejected", "step-rejected")
    done = ("person-done", "refund-died-done", "backoff-done", "asked-done")
    await b.on("playbook/steps/1/complete", *done, output={"status": "ok"})
    await b.on("playbook/steps/1/skip", "person-skipped", reason="not needed")
    anew = ("question", "person", "unknown", "backoff", "charge-died", "asked")
    await b.on("playbook/recalculate", *(f"{name}-decided-anew" for name in anew), reason="look again")
    await b.on("reopen", "reopened", "refunded-reopened", reason="not settled after all")
    await b.on("escalate", "question-withdrawn", "backoff-taken-over", "asked-taken-over", reason="mine")
    await b.person("admin", "/tools", {"name": "ping", "definition": FREE_TOOL})
    await b.person("admin", "/tools/ping/execute", {"input": {"to": "somebody"}})


async def main(url: str, port: int) -> str:
    assert await prepare_database(url) == []
    async with started(url) as system:
        pack = DOMAIN.replace("127.0.0.1:9/", f"127.0.0.1:{port}/").replace("1.0.0", "2.0.0")
        pack = pack.replace("resolveWithin: 4h", "resolveWithin: 24h")
        await configure(system.client(), "acme", pack, "2.0.0")
        b = Builder(system)
        await at_rest(b)
        await not_taken(b)
        await people(b)
        await query(url, LEASES_END)
        return json.dumps({"ids": b.ids, "payloads": b.payloads, "keys": system.keys})


async def die_with_calls(url: str) -> None:
    """The tool worker takes what was asked for, and its process dies with every call."""
    settings = Settings(_env_file=None, tool_allowed_hosts=("127.0.0.1",))
    async with built_runner(settings, url, ["tool"]) as runner:
        dying(runner, "")
        while await step(runner):
            pass
    await query(url, LEASES_END)


if len(sys.argv) == 2:
    asyncio.run(die_with_calls(sys.argv[1]))
else:
    Path(sys.argv[3]).write_text(asyncio.run(main(sys.argv[1], int(sys.argv[2]))))
