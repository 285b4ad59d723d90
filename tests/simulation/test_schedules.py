"""The core under thousands of schedules: real workers, cursors, parking and timers over a simulated store and clock.

Hypothesis chooses what happens next - reports, transactions that commit late, how far each of two processes gets, where it
dies or loses its connection, clocks that jump, events that cannot be handled - and shrinks a failing schedule to its
smallest form. Each planted bug below has to be found.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from sample_packs import DOMAIN, policy_for
from store import (
    Broker,
    Exceptions,
    Executions,
    Log,
    OneTenant,
    ParkedRows,
    Store,
    Stored,
    Tx,
    UnitOfWork,
    turn,
)

from sentinai.errors import Conflict, Rejected, Unavailable
from sentinai.events.envelope import partition_of
from sentinai.events.intake import ExceptionIngested
from sentinai.infrastructure.repositories.events import first_broken
from sentinai.infrastructure.repositories.exceptions import decode_state
from sentinai.messaging.parked import BEHIND, DEAD, DUE
from sentinai.models.exception_record import CLOSED, Status, stream_of
from sentinai.orchestrator.fold import fold
from sentinai.orchestrator.pipeline import CONSUMER_OF
from sentinai.orchestrator.recording import Cause, Recorder, new_exception
from sentinai.packs.document import parse
from sentinai.packs.merge import merge
from sentinai.workers.base import BaseWorker
from sentinai.workers.catalog import BY_NAME, STAGES
from sentinai.workers.work import Answer, Work

SCHEDULES = int(os.environ.get("SENTINAI_TEST_SCHEDULES", "150"))
TENANT = "acme"
START = datetime(2026, 1, 31, 12, tzinfo=UTC)
REPORTS_MAX = 6
IDS = [i for i in (UUID(int=n) for n in range(1, 1_000)) if partition_of(TENANT, stream_of(i)) < 2][:REPORTS_MAX]
"""In two partitions, so that they meet."""
CONFIG = merge(parse(DOMAIN).content, parse(policy_for(TENANT)).content)
CODES = ("card_declined", "chargeback", "nothing known")
TURNS_MAX = 5_000
"""Enough for every schedule here to come to rest, and an end for one with a planted bug."""
SEARCH = settings(max_examples=3_000, derandomize=True, database=None, phases=[Phase.generate, Phase.shrink])
REST_STEP, RESTS_MAX = timedelta(hours=1), 40
ENDS = CLOSED | {Status.ESCALATED, Status.AWAITING_APPROVAL}
"""Closed, or a person's."""
Move = tuple[str, int, int]
Schedule = tuple[bool, list[Move]]
MOVES = st.lists(
    st.tuples(
        st.sampled_from(
            ["report", "slow report", "commit", "run", "run", "run", "crash", "cut", "clock", "poison", "unavailable"]
        ),
        st.integers(0, REPORTS_MAX - 1),
        st.integers(1, 8),
    ),
    max_size=30,
)
SCHEDULE = st.tuples(st.booleans(), MOVES)
"""Whether the processes chain, and the moves."""


class Process:
    """Hosts every stage, as Runner does; `step` lets it go on to its next turn."""

    def __init__(self, world: "World", *, chaining: bool) -> None:
        self.world = world
        self.skew = timedelta()
        self.idle = False
        store = world.store
        self.platform: Any = SimpleNamespace(
            database=store,
            broker=Broker(store),
            store=Log(store),
            exceptions=Exceptions(),
            configurations=OneTenant(CONFIG),
            parked=ParkedRows(),
            executions=Executions(),
            unit_of_work=UnitOfWork(store),
            clock=lambda: world.now + self.skew,
            new_id=world.new_id,
            batch_max=8,
            chaining=chaining,
        )
        self.begin()

    def begin(self) -> None:
        workers = [_witnessed(BY_NAME[name].worker, self.world)(self.platform) for name in STAGES]
        for worker in workers:
            worker.hosted = {w.name: w for w in workers}
        self.life = self.rounds(workers)
        self.idle = False

    async def rounds(self, workers: Sequence[BaseWorker]) -> None:
        while True:
            taken = 0
            try:
                for worker in workers:
                    taken += await worker.process()
                for worker in workers:
                    taken += await worker.process_parked()
            except (Conflict, Unavailable):
                taken = 1
                await turn()
            if not taken:
                self.idle = True
                await turn()
                self.idle = False

    def step(self) -> None:
        self.life.send(None)

    def crash(self) -> None:
        """What it has in its hands is dropped; it begins anew."""
        self.life.close()
        self.begin()

    def cut(self) -> None:
        """Its connection breaks off, and it lives."""
        try:
            self.life.throw(Unavailable("cut"))
        except Unavailable:  # it had not begun
            self.begin()


def _witnessed(stage: type[BaseWorker], world: "World") -> Callable[[Any], BaseWorker]:
    """The stage, with a note of what it handled in each transaction, and triage as faulty as the schedule says."""

    class Witnessed(stage):  # type: ignore[valid-type,misc]
        def handle(self, work: Work) -> Answer:
            if self.name == "triage":
                world.fault(work.state.exception_id)
            yield from super().handle(work)

        async def settle(self, tx: Any, works: Sequence[Work]) -> None:
            tx.handled += [(self.name, w.event.stream, w.event.sequence) for w in works]
            await super().settle(tx, works)

    return Witnessed


class World:
    def __init__(self, moves: Sequence[Move], *, chaining: bool) -> None:
        self.store = Store()
        self.now = START
        self.numbers = count(1_000_000)
        self.accepted: list[UUID] = []
        self.open: list[Tx] = []
        self.poisoned = {IDS[which] for name, which, _ in moves if name == "poison"}
        self.away = {IDS[which]: times for name, which, times in moves if name == "unavailable"}
        """How often triage still says so; fewer times than an event is tried."""
        self.processes = [Process(self, chaining=chaining) for _ in range(2)]

    def new_id(self) -> UUID:
        return UUID(int=next(self.numbers))

    def fault(self, exception_id: UUID) -> None:
        if exception_id in self.poisoned:
            raise Rejected("poison")
        if self.away.get(exception_id, 0) > 1:
            self.away[exception_id] -= 1
            raise Unavailable("not now")

    def report(self, which: int, code: int, *, late: bool) -> None:
        """A report is committed at once, or, late, with the next `commit`."""
        if len(self.accepted) == REPORTS_MAX:
            return
        tracked = new_exception(TENANT, IDS[len(self.accepted)])
        self.accepted.append(tracked.state.exception_id)
        recorder = Recorder(self.new_id, self.now)
        payload = {"id": f"p{which % 2}", "amount": 500, "code": CODES[code % len(CODES)]}
        recorder.record(tracked, ExceptionIngested("psp", payload), Cause("source:psp", None, None))
        tx = self.store.open()
        self.store.write(tx, recorder.events, [tracked])
        self.open.append(tx)
        if not late:
            self.commit(tx)

    def commit(self, tx: Tx) -> None:
        tx.end(commit=True)
        self.open.remove(tx)

    def play(self, move: Move) -> None:
        name, which, number = move
        process = self.processes[which % 2]
        match name:
            case "report" | "slow report":
                self.report(which, number, late=name == "slow report")
            case "commit":
                for tx in list(self.open):
                    self.commit(tx)
            case "run":
                for _ in range(number):
                    process.step()
            case "crash":
                process.crash()
            case "cut":
                process.cut()
            case "clock":
                process.skew += timedelta(hours=number - 4)

    def rest(self) -> None:
        """Everything is committed, the clocks agree, and go on until no parked event waits for its time."""
        self.play(("commit", 0, 0))
        for process in self.processes:
            process.skew = timedelta()
        for _ in range(RESTS_MAX):
            self.settle_down()
            if all(entry.state != DUE for entry in self.store.tables["parked"].values()):
                break
            self.now += REST_STEP

    def settle_down(self) -> None:
        quiet = 0
        for number in range(TURNS_MAX):
            process = self.processes[number % 2]
            process.step()
            quiet = quiet + 1 if process.idle else 0
            if quiet > 3:
                return
        raise AssertionError("it never comes to rest")


def run(schedule: Schedule) -> World:
    chaining, moves = schedule
    world = World(moves, chaining=chaining)
    for move in moves:
        world.play(move)
    world.rest()
    return world


def faults(world: World) -> list[str]:
    """What is wrong at rest; empty when all is well."""
    store, found = world.store, []
    handled = Counter(store.handled)
    parked = store.tables["parked"]
    for exception_id in world.accepted:
        stream = stream_of(exception_id)
        events = sorted((r.event for r in store.log if r.event.stream == stream), key=lambda e: e.sequence)
        if (broken := first_broken(events)) is not None:
            found.append(broken)
            continue
        row: Stored = store.tables["exception"][TENANT, exception_id]
        state = decode_state(row.state)
        if fold(events) != state:
            found.append(f"{stream}: the row is not the fold of its events")
        waiting = {key: entry for key, entry in parked.items() if key[1] == stream}
        if row.pending != len(waiting):
            found.append(f"{stream}: {row.pending} pending, {len(waiting)} parked")
        expected = {(CONSUMER_OF[e.type], stream, e.sequence): 1 for e in events if e.type in CONSUMER_OF}
        done = {key: times for key, times in handled.items() if key[1] == stream}
        if Counter(done) + Counter(list(waiting)) != Counter(expected):
            found.append(f"{stream}: handled {done}, parked {sorted(waiting)}, expected {sorted(expected)}")
        found += _at_its_end(world, exception_id, state.status, [e.type for e in events], waiting)
    return found


def disorder(world: World) -> list[str]:
    """Where a consumer handled a later event of an exception before an earlier one."""
    found = []
    for consumer, stream in sorted({key[:2] for key in world.store.handled}):
        order = [key[2] for key in world.store.handled if key[:2] == (consumer, stream)]
        if order != sorted(order):
            found.append(f"{consumer} handled {stream} in the order {order}")
    return found


def turned_round(world: World) -> bool:
    """Whether the log has a stream's events in another order than the stream."""
    last: Counter[str] = Counter()
    for row in sorted(world.store.log):
        if row.event.sequence < last[row.event.stream]:
            return True
        last[row.event.stream] = row.event.sequence
    return False


def _at_its_end(world: World, exception_id: UUID, status: Status, types: list[str], waiting: Any) -> list[str]:
    """Closed or a person's; a dead letter, and others behind it, exactly when triage had a poisoned event."""
    poisoned = exception_id in world.poisoned and "ExceptionNormalized" in types
    states = [entry.state for _, entry in sorted(waiting.items())]
    if states != [DEAD, *[BEHIND] * (len(states) - 1)] if poisoned else states:
        return [f"{exception_id}: parked {states}, poisoned: {poisoned}"]
    if not poisoned and status not in ENDS:
        return [f"{exception_id}: rests as {status} after {types}"]
    return []


@pytest.fixture(autouse=True)
def _silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for every parked event would take longer than all the rest."""
    silent = SimpleNamespace(warning=lambda *_, **__: None)
    monkeypatch.setattr("sentinai.workers.batch.log", silent)


TIMER_OVERTAKES = [("report", 0, 1), ("run", 0, 1), ("run", 0, 4), ("run", 1, 6), ("clock", 0, 8), ("run", 0, 3)]
RECURRENCE_OVERTAKES = [("unavailable", 0, 3), ("report", 0, 1), ("report", 0, 1), ("run", 0, 1), ("run", 1, 2)]


@pytest.mark.parametrize("moves", [TIMER_OVERTAKES, RECURRENCE_OVERTAKES])
def test_the_log_has_the_order_of_the_stream(moves: list[Move]) -> None:
    """Who has the lower id writes later to the same stream. Once these were turned round, and parked waited for ever."""
    world = run((False, moves))
    assert not faults(world)
    assert not turned_round(world)


@settings(max_examples=SCHEDULES, deadline=None, suppress_health_check=list(HealthCheck))
@given(SCHEDULE)
def test_every_schedule_comes_to_its_end(schedule: Schedule) -> None:
    world = run(schedule)
    assert not (found := faults(world) + disorder(world)), (schedule, found)
    assert not turned_round(world), schedule


def _saves_the_cursor_whatever_comes_of_the_transaction(patch: pytest.MonkeyPatch) -> None:
    async def advance(self: Broker, _tx: Tx, claim: Any) -> None:
        cursors = self._store.tables["cursor"]
        cursors |= {(claim.consumer, topic, partition): place for (topic, partition), place in claim.ends.items()}

    patch.setattr(Broker, "advance", advance)


def _reads_past_the_horizon(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Store, "horizon", lambda store: store.next_xid)


def _holds_nothing_behind_a_parked_event(patch: pytest.MonkeyPatch) -> None:
    async def everything(_self: BaseWorker, _tx: Any, _batch: Any, sources: Sequence[Any]) -> Sequence[Any]:
        return sources

    patch.setattr(BaseWorker, "_without_parked", everything)


def _frees_nothing_that_waits_behind(patch: pytest.MonkeyPatch) -> None:
    async def release(_self: ParkedRows, tx: Tx, entry: Any, _now: datetime) -> None:
        tx.put("parked", (entry.consumer, entry.stream, entry.sequence), None)

    patch.setattr(ParkedRows, "release", release)


def _stores_every_event_with_its_own_transaction(patch: pytest.MonkeyPatch) -> None:
    plain = Exceptions.lock

    async def lock(self: Exceptions, tx: Tx, keys: Any) -> Any:
        found = await plain(self, tx, keys)
        for tracked in found.values():
            tracked.after = 0
        return found

    patch.setattr(Exceptions, "lock", lock)


@pytest.mark.parametrize(
    "plant",
    [
        _saves_the_cursor_whatever_comes_of_the_transaction,
        _reads_past_the_horizon,
        _holds_nothing_behind_a_parked_event,
        _frees_nothing_that_waits_behind,
        _stores_every_event_with_its_own_transaction,
    ],
)
def test_a_planted_bug_is_found(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation is worth something: each of these is found, and shrunk to a handful of moves."""
    plant(monkeypatch)
    try:
        smallest = find(SCHEDULE, _fails, settings=SEARCH)
    except NoSuchExample:
        pytest.fail("the planted bug was not found")
    assert len(smallest[1]) <= 8, smallest


def _fails(schedule: Schedule) -> bool:
    """A broken invariant counts, and so does an assertion of the product."""
    try:
        world = run(schedule)
        return turned_round(world) or bool(faults(world) + disorder(world))
    except AssertionError:
        return True
