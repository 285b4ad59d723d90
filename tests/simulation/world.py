"""Who acts on the simulated database? Two processes with every stage and their tool calls, people, a tool, and clocks."""

import random
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import asyncpg
from sample_packs import DOMAIN, policy_for
from statements import COPIES, STATEMENTS, register
from store import Row, Store, Tx, turn

from sentinai.errors import Conflict, Rejected, SentinaiError, Unavailable
from sentinai.events.envelope import partition_of
from sentinai.events.intake import ExceptionIngested
from sentinai.infrastructure.repositories.configurations import Configurations
from sentinai.infrastructure.repositories.events import EventStore, event_of
from sentinai.infrastructure.repositories.exceptions import ExceptionRepository
from sentinai.infrastructure.repositories.executions import ExecutionRepository
from sentinai.infrastructure.unit_of_work import UnitOfWork
from sentinai.messaging.parked import ParkedEvents
from sentinai.messaging.postgres import PostgresBroker
from sentinai.messaging.publisher import EventPublisherService
from sentinai.models.exception_record import stream_of
from sentinai.orchestrator.pipeline import CONSUMES
from sentinai.orchestrator.recording import Cause, new_exception
from sentinai.orchestrator.stages.occasion import Decided, Occasion, Stage
from sentinai.packs.compile import compile_pair
from sentinai.packs.document import parse
from sentinai.packs.effective import TenantConfiguration
from sentinai.security.roles import Principal
from sentinai.services import approvals, dead_letters
from sentinai.services.recording import Commands
from sentinai.tools.fate import Fate, Refused, Unanswered
from sentinai.tools.provider import ToolCall, ToolResult
from sentinai.workers.base import BaseWorker, Platform
from sentinai.workers.batch import Done
from sentinai.workers.catalog import BY_NAME, STAGES
from sentinai.workers.executor import ToolExecutor

TENANTS = ("acme", "beta", "gamma")
START = datetime(2026, 1, 31, 12, tzinfo=UTC)
REPORTS_MAX = 8
PARTITIONS_USED = 2
"""So that exceptions meet."""
CONFIGS = {tenant: compile_pair(parse(DOMAIN).content, parse(policy_for(tenant)).content) for tenant in TENANTS}
IDS = {
    tenant: [
        number
        for number in (UUID(int=n) for n in range(1, 1_000))
        if partition_of(tenant, stream_of(number)) < PARTITIONS_USED
    ][:REPORTS_MAX]
    for tenant in TENANTS
}
CODES = ("card_declined", "retry", "refund_stuck", "chargeback", "card_declined", "nothing known", "retry")
ANSWERS = ("done", "declined", "not reached", "answer lost", "refused", "nonsense")
"""What the tool does with a request."""
TURNS_MAX = 1_000
"""Enough for every schedule here to come to rest, and an end for one with a planted bug."""
REST_STEP, RESTS_MAX = timedelta(hours=1), 40
BATCH_MAX = 4
Life = Coroutine[Any, Any, Any]
Move = tuple[str, int, int]


class Tool:
    """The outside world. It remembers each request, and does an idempotent thing once for each key."""

    def __init__(self) -> None:
        self.answers: deque[str] = deque()
        """Of the next requests; without any it does what is asked."""
        self.requests: Counter[str] = Counter()
        self.done: Counter[str] = Counter()

    async def __call__(self, call: ToolCall, begin: Callable[[], Any]) -> ToolResult:
        await begin()
        await turn()
        answer = self.answers.popleft() if self.answers else "done"
        if answer == "not reached":
            raise Unanswered("no connection", Fate(sent=False))
        key = call.idempotency_key
        self.requests[key] += 1
        if answer == "refused":
            raise Refused("the tool says no")
        if not (call.tool.idempotent and self.done[key]):
            self.done[key] += 1
        await turn()
        if answer == "answer lost":
            raise Unanswered("no answer", Fate(sent=True))
        status: Any = {"declined": "declined", "nonsense": 7}.get(answer, "ok")
        return ToolResult({"status": status})


class Process:
    """Hosts every stage and the tool executor, as Runner does. `step` lets its loop, or one of its calls, go on."""

    def __init__(self, world: "World", *, chaining: bool) -> None:
        self.world = world
        self.chaining = chaining
        self.skew = timedelta()
        self.idle_rounds = 0
        self.resting: Any = None
        """While it rests: what it saw when it found nothing to do."""
        self.calls: list[Task] = []
        self.life = self.rounds()

    def platform(self) -> Platform:
        world, store, repository = self.world, EventStore(copy=True), ExceptionRepository()
        return Platform(
            database=world.database,
            broker=PostgresBroker(event_of),
            store=store,
            exceptions=repository,
            configurations=configurations(),
            parked=ParkedEvents(),
            executions=ExecutionRepository(),
            tools=None,  # type: ignore[arg-type]
            unit_of_work=UnitOfWork(EventPublisherService(store).publish, repository),
            clock=lambda: world.now + self.skew,
            new_id=world.new_id,
            batch_max=BATCH_MAX,
            chaining=self.chaining,
        )

    def takes(self) -> list[Callable[[], Life]]:
        """What it does in one round."""
        platform = self.platform()
        workers = [witnessed(BY_NAME[name].loop, self.world)(platform) for name in STAGES]
        stages = [w for w in workers if isinstance(w, BaseWorker)]
        for worker in stages:
            worker.hosted = {w.name: w for w in stages}
        executor = ToolExecutor(platform, self.world.tool)
        return [*(w.process for w in workers), executor.take, *(w.process_parked for w in workers)]

    async def rounds(self) -> None:
        takes = self.takes()
        while True:
            seen, taken = self.now(), 0
            for take in takes:
                try:
                    taken += await take()
                except (Conflict, Unavailable):
                    taken += 1
                    await turn()
            self.idle_rounds = 0 if taken else self.idle_rounds + 1
            if not taken:
                self.resting = seen
                await turn()
                self.resting = None

    def now(self) -> tuple[Any, ...]:
        return self.skew, self.world.now, *self.world.store.seen()

    def step(self) -> None:
        if self.resting == self.now():
            self.idle_rounds += 1
        else:
            self._go_on(self.life)

    def step_call(self, number: int) -> None:
        if self.calls:
            call = self.calls[number % len(self.calls)]
            if not self._go_on(call.life):
                self.calls.remove(call)
                call.ended(call)

    def crash(self) -> None:
        """What it has in its hands is dropped; it begins anew."""
        self.world.store.break_off(self)
        self.world.store.silent.discard(self)
        for life in (self.life, *(call.life for call in self.calls)):
            life.close()
        self.calls.clear()
        self.life = self.rounds()
        self.idle_rounds, self.resting = 0, None

    def _go_on(self, life: Life) -> bool:
        """Until its next turn; False when it is over."""
        self.world.store.owner, self.world.acting = self, self
        try:
            life.send(None)
        except StopIteration:
            return False
        return True


class Task:
    """What ToolExecutor needs of a task."""

    def __init__(self, process: Process, life: Life) -> None:
        self.life = life
        self.ended: Callable[[Task], Any] = lambda _: None
        process.calls.append(self)

    def add_done_callback(self, callback: Callable[["Task"], Any]) -> None:
        self.ended = callback


def configurations() -> Configurations:
    """Every tenant's, compiled once for all schedules."""
    found = Configurations()
    for tenant, config in CONFIGS.items():
        found._compiled[config.hash] = config
        found._tenants[tenant] = TenantConfiguration(tenant, 1, False, (config,), frozenset())
    return found


def witnessed(loop: Any, world: "World") -> Callable[[Platform], Any]:
    """The loop, with a note of what it handled in each transaction, and triage as faulty as the schedule says."""
    if not isinstance(loop, partial):
        return loop  # type: ignore[no-any-return]
    stage = loop.keywords["stage"]

    class Witnessed(loop.func):  # type: ignore[name-defined,misc]
        async def settle(self, tx: Any, done: Sequence[Done]) -> None:
            if isinstance(tx, Tx):
                tx.handled += [(self.name, d.event.tenant_id, d.event.stream, d.event.sequence) for d in done]
            await super().settle(tx, done)

    return partial(Witnessed, stage=faulty(stage, world) if stage.name == "triage" else stage)


def faulty(stage: Stage[Any], world: "World") -> Stage[Any]:
    def decide(occasion: Occasion, known: Any) -> Decided:
        world.fault(occasion.state.tenant_id, occasion.state.exception_id)
        return stage.decide(occasion, known)

    return replace(stage, decide=decide)


class World:
    def __init__(self, *, chaining: bool, seed: int = 0) -> None:
        random.seed(seed)
        self.store = Store(STATEMENTS, COPIES)
        self.store.refuses = self.refuse
        self.database: Any = self.store
        self.now = START
        self.numbers = count(1_000_000)
        self.accepted: list[tuple[str, UUID]] = []
        """Exceptions whose report was answered."""
        self.reported: list[tuple[str, UUID]] = []
        self.people: list[Life] = []
        """Requests to the API that are under way."""
        self.poisoned: set[tuple[str, UUID]] = set()
        self.unwritable: set[tuple[str, str]] = set()
        self.fixed: set[tuple[str, UUID]] = set()
        self.away: dict[tuple[str, UUID], int] = {}
        """How often triage still says so; fewer times than an event is tried."""
        self.tool = Tool()
        self.processes = [Process(self, chaining=chaining) for _ in range(2)]
        self.acting = self.processes[0]
        self._register()

    def _register(self) -> None:
        tx = Tx(self.store, None)
        register(tx, CONSUMES, PARTITIONS_USED)
        tx.end(commit=True)

    def commands(self) -> Commands:
        platform = self.processes[0].platform()
        return Commands(
            database=platform.database,
            store=platform.store,
            exceptions=platform.exceptions,
            configurations=platform.configurations,
            parked=platform.parked,
            unit_of_work=platform.unit_of_work,
            clock=lambda: self.now,
            new_id=self.new_id,
        )

    def new_id(self) -> UUID:
        return UUID(int=next(self.numbers))

    def fault(self, tenant_id: str, exception_id: UUID) -> None:
        key = tenant_id, exception_id
        if key in self.poisoned:
            raise Rejected("poison")
        if self.away.get(key, 0) > 1:
            self.away[key] -= 1
            raise Unavailable("not now")

    def refuse(self, row: Any) -> None:
        if (row["tenant_id"], row["stream"]) in self.unwritable and row["type"] == "TriageCompleted":
            raise asyncpg.DataError("this row cannot be written")

    # What may happen next

    def play(self, move: Move) -> None:
        name, which, number = move
        process = self.processes[which % 2]
        match name:
            case "report" | "slow report":
                self.report(which, number, late=name == "slow report")
            case "people":
                self.step_people(number)
            case "run":
                for _ in range(number * number):
                    process.step()
            case "call":
                for turned in range(number):
                    process.step_call(which // 2 + turned // 3)
            case "crash":
                process.crash()
            case "cut":
                self.store.break_off(process)
            case "silent commit":
                self.store.silent.add(process)
            case "clock":
                process.skew += timedelta(hours=number - 4)
            case "tool":
                self.tool.answers.append(ANSWERS[number % len(ANSWERS)])
            case "poison" | "unwritable" | "unavailable" | "fix":
                self.trouble(name, which, number)
            case "approve" | "reject" | "retry" | "discard":
                self.request(name, which)

    def report(self, which: int, number: int, *, late: bool) -> None:
        """A report is committed at once, or, late, whenever people go on."""
        life = self.reporting(which, number, f"p{which % 4}")
        self.people.append(life)
        while life in self.people and not (late and self._has_written(life)):
            self._go_on(life)

    async def reporting(self, which: int, number: int, payment: str) -> None:
        """One more exception of a tenant, as the API would store it; none beyond REPORTS_MAX."""
        tenant = TENANTS[which % len(TENANTS)]
        if len(self.reported) == REPORTS_MAX:
            return
        key = tenant, IDS[tenant][sum(t == tenant for t, _ in self.reported)]
        self.reported.append(key)
        code = CODES[number % len(CODES)]
        payload: dict[str, Any] = {"id": payment, "amount": 500, "code": code}
        if code == "retry":
            payload |= {"code": "card_declined", "retry": True}
        commands = self.commands()
        async with commands.database.transaction() as tx:
            tracked, recorder = new_exception(*key), commands.recorder()
            recorder.record(tracked, ExceptionIngested("psp", payload), Cause("source:psp", None, None))
            await commands.unit_of_work.write(tx, recorder.events, [tracked])
        self.accepted.append(key)

    def _has_written(self, life: Life) -> bool:
        return any(tx.owner is life and tx.xid is not None for tx in self.store.running)

    def step_people(self, number: int) -> None:
        for turned in range(number):
            if self.people:
                self._go_on(self.people[turned % len(self.people)])

    def _go_on(self, life: Life) -> None:
        self.store.owner = life
        try:
            life.send(None)
        except StopIteration:
            self.people.remove(life)

    def trouble(self, name: str, which: int, number: int) -> None:
        """One of the next exceptions to be reported, or of those that were, makes trouble in triage."""
        tenant = TENANTS[which % len(TENANTS)]
        key = tenant, IDS[tenant][number % 2]
        match name:
            case "poison":
                self.poisoned.add(key)
            case "unwritable":
                self.unwritable.add((tenant, stream_of(key[1])))
            case "unavailable":
                self.away[key] = 1 + number % 6
            case "fix":
                self.fixed.add(key)
                self.poisoned.discard(key)
                self.unwritable.discard((tenant, stream_of(key[1])))

    def request(self, name: str, which: int) -> None:
        tables = self.store.tables
        rows = tables["approval"] if name in ("approve", "reject") else tables["parked"]
        if (asked := self.asking(name, which, list(rows.values()))) is not None:
            self.people.append(asked)

    def asking(self, name: str, which: int, rows: Sequence[Row]) -> Life | None:
        """What a person asks the API for, of these approvals or parked events; whatever is refused, is refused in words."""
        column = "approval_id" if name in ("approve", "reject") else "dead_letter_id"
        found = sorted((r["tenant_id"], r[column]) for r in rows if r.get("state", "dead") == "dead")
        if not found:
            return None
        tenant, number = found[which % len(found)]
        commands, someone = self.commands(), Principal(tenant, UUID(int=7), "somebody", "admin", "somebody")
        asked: dict[str, Callable[[], Life]] = {
            "approve": lambda: approvals.approve(commands, someone, number, None),
            "reject": lambda: approvals.reject(commands, someone, number, None),
            "retry": lambda: dead_letters.retry(commands, someone, number),
            "discard": lambda: dead_letters.discard(commands, someone, number, "of no use"),
        }

        async def ask() -> None:
            with suppress(SentinaiError):
                await asked[name]()

        return ask()

    def was_fixed(self, key: tuple[str, UUID]) -> bool:
        return key in self.fixed

    def events_of(self, key: tuple[str, UUID]) -> list[Row]:
        found = (r for r in self.store.tables["event"].values() if (r["tenant_id"], r["correlation_id"]) == key)
        return sorted(found, key=lambda r: r["sequence"])

    # At the end

    def close(self) -> None:
        for process in self.processes:
            process.life.close()

    def rest(self) -> None:
        """The clocks agree, and go on until nothing waits for its time."""
        for process in self.processes:
            process.skew = timedelta()
        self.tool.answers.clear()
        for _ in range(RESTS_MAX):
            self.settle_down()
            if not self._waits():
                break
            self.now += REST_STEP

    def settle_down(self) -> None:
        commits = -1
        for _ in range(TURNS_MAX):
            process = random.choice(self.processes)
            for number in range(
                random.choice((1, 1, 2, 5, 40))
            ):  # in step, two could stand in each other's way for ever
                if process.calls or self.people or self.store.commits != commits:
                    commits = self.store.commits
                    for each in self.processes:
                        each.idle_rounds = 0
                process.step()
                process.step_call(number)
                self.step_people(1)
                if self.store.commits == commits and all(p.resting and p.idle_rounds > 1 for p in self.processes):
                    return
        raise AssertionError("it never comes to rest")

    def _waits(self) -> bool:
        parked = any(row["state"] == "due" for row in self.store.tables["parked"].values())
        calls = any(row["due_at"] is not None for row in self.store.tables["tool_execution"].values())
        return parked or calls


def run(moves: Sequence[Move], *, chaining: bool, seed: int = 0) -> World:
    world = World(chaining=chaining, seed=seed)
    for move in moves:
        world.play(move)
    world.rest()
    return world


def simulated_asyncio(world_of: Callable[[], World]) -> SimpleNamespace:
    """What ToolExecutor uses of asyncio."""

    async def sleep(_seconds: float) -> None:
        await turn()

    def create_task(life: Life) -> Task:
        return Task(world_of().acting, life)

    return SimpleNamespace(create_task=create_task, sleep=sleep, Task=Task)
