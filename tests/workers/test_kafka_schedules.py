"""The consumers of Kafka under thousands of schedules: a simulated log, broker, relay and group around the real code.

Hypothesis chooses what happens next - appends, relays that die half-way, lost messages, partitions that move between two
processes or are added, transactions that are rolled back - and shrinks a failing schedule to its smallest form. Each planted
bug below has to be found.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from sentinai.errors import Unavailable
from sentinai.events.catalog import decode
from sentinai.events.envelope import Event
from sentinai.events.intake import ExceptionIngested
from sentinai.messaging import kafka
from sentinai.messaging.broker import Claim, Cursors, Delivery, Place
from sentinai.messaging.cloudevents import NOWHERE, headers_of

TOPIC, CONSUMER = "exceptions.ingested", "intake"
SCHEDULES = int(os.environ.get("SENTINAI_TEST_SCHEDULES", "1500"))
LOG_PARTITIONS = 3
READ_MAX = 2
"""Events that the log gives at once, of all partitions together, as the bytes of a claim bound it."""
ROUNDS_MAX = 12
"""Enough for every schedule here to come to rest, and an end for one with a planted bug."""
BODY = ExceptionIngested("psp", {})
Move = tuple[str, int, int]
MOVES = st.lists(
    st.tuples(
        st.sampled_from(
            ["append", "chained", "relay", "relay dies", "lose", "move", "zombie", "grow", "work", "roll back"]
        ),
        st.integers(0, 5),
        st.integers(1, 4),
    ),
    max_size=40,
)
PAUSED_WHILE_ANOTHER_COMES = [
    ("append", 0, 6),
    ("relay", 0, 6),
    ("work", 0, 1),
    ("work", 0, 6),
    ("work", 0, 6),
    ("move", 1, 4),
    ("append", 0, 3),
    ("relay", 0, 6),
]
"""Too much waits, so that nothing more is fetched; it is handled; then the process gets another partition."""

GAPS_IN_MORE_THAN_THE_LOG_GIVES_AT_ONCE = [
    ("append", 0, 3),
    ("append", 2, 1),
    ("relay", 0, 1),
    ("lose", 0, 2),
    ("append", 2, 3),
    ("relay", 0, 4),
    ("work", 0, 4),
    ("append", 2, 1),
    ("relay", 0, 4),
]
"""Of two partitions the first message is lost; of the second the log gives nothing yet, though it has something."""


class Row(NamedTuple):
    """An event in the simulated log."""

    place: Place
    partition: int
    handled: bool

    @property
    def event(self) -> Event:
        stream = f"exception/{self.place.position}"
        number = UUID(int=self.place.position)
        return Event(
            "acme", stream, 1, number, "ExceptionIngested", 1, TOPIC, self.partition, None, "user:x", number, None,
            None, b'{"source_system":"psp","payload":{}}', b"", self.handled, BODY,
        )  # fmt: skip


class Message(NamedTuple):
    where: tuple[str, int]
    at: int
    row: Row
    previous: Place

    def topic(self) -> str:
        return self.where[0]

    def partition(self) -> int:
        return self.where[1]

    def offset(self) -> int:
        return self.at

    def error(self) -> None:
        return None

    def value(self) -> bytes:
        return self.row.event.payload

    def headers(self) -> list[Any]:
        event = self.row.event
        fields = {name: getattr(event, name) for name in event.__struct_fields__ if name != "body"}
        fields |= {"xid": self.row.place.xid, "position": self.row.place.position, "occurred_at": _Time}
        return headers_of(fields, self.previous)


class _Time:
    @staticmethod
    def isoformat() -> str:
        return "2026-01-31T12:00:00+00:00"


class Member:
    """A process's place in the consumer group: what the client library would be."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.positions: dict[int, int] = {}
        self.paused: set[int] = set()

    def consume(self, count: int, _timeout: float) -> list[Message]:
        found: list[Message] = []
        for partition, position in self.positions.items():
            if partition in self.paused:
                continue
            there = [m for m in self.world.kafka[partition] if m.at >= position][: max(0, count - len(found))]
            if there:
                self.positions[partition] = there[-1].at + 1
                found += there
        return found

    def commit(self, *, offsets: list[Any], **_: Any) -> None:
        for o in offsets:
            self.world.offsets[o.partition] = max(o.offset, self.world.offsets[o.partition])

    def assignment(self) -> list[Any]:
        return [kafka.TopicPartition(TOPIC, partition) for partition in self.positions]

    def pause(self, partitions: list[Any]) -> None:
        """Holds until it is resumed or another process has the partition: also while others come and go."""
        self.paused |= {p.partition for p in partitions}

    def resume(self, partitions: list[Any]) -> None:
        self.paused -= {p.partition for p in partitions}

    def close(self) -> None: ...


class World:
    """The log with its cursors, and Kafka with its offsets. It is what PostgresBroker is to the real code."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.cursors = {(TOPIC, p): NOWHERE for p in range(LOG_PARTITIONS)}
        self.relayed = dict.fromkeys(range(LOG_PARTITIONS), NOWHERE)
        self.kafka: dict[int, list[Message]] = defaultdict(list)
        self.next_offset: dict[int, int] = defaultdict(int)
        self.offsets: dict[int, int] = defaultdict(int)
        self.count = 2
        self.handled: list[Place] = []
        self.rested = 0
        """How many were handled before anybody looked back at the log."""
        self.members = [Member(self), Member(self)]
        self.feeds = [kafka.Feed(CONSUMER, "", lambda _, m=member: m) for member in self.members]
        self.brokers = [kafka.KafkaBroker(self, [feed]) for feed in self.feeds]  # type: ignore[arg-type]
        for partition in range(self.count):
            self.assign(partition, partition % 2)

    def assign(self, partition: int, to: int) -> None:
        self.feeds[to].assigned(self.members[to], [kafka.TopicPartition(TOPIC, partition)])
        self.members[to].positions.setdefault(partition, self.offsets[partition])

    async def lock(self, _tx: Any, _consumer: str, partitions: list[int]) -> Cursors:
        return Cursors({key: place for key, place in self.cursors.items() if key[1] in partitions}, {})

    async def read(self, _tx: Any, consumer: str, partitions: list[int], count: int, **_: Any) -> Claim:
        found: list[Row] = []
        for p in partitions:
            waiting = [r for r in self.rows if r.partition == p and r.place > self.cursors[TOPIC, p] and not r.handled]
            found += waiting[: max(1, count // len(partitions))]
        taken = sorted(found)[:READ_MAX]
        return Claim(
            consumer,
            [Delivery(r.event, r.place) for r in taken],
            {(TOPIC, r.partition): r.place for r in taken},
            cut=len(taken) == READ_MAX,
        )

    async def claim(self, tx: Any, consumer: str, count: int, partition: int | None = None) -> Claim | None:
        wanted = [partition] if partition is not None else list(range(LOG_PARTITIONS))
        claim = await self.read(tx, consumer, wanted, count)
        return claim if claim.deliveries else None

    async def advance(self, _tx: Any, claim: Claim) -> None:
        self.cursors |= claim.ends

    def append(self, partition: int, count: int, *, handled: bool) -> None:
        for _ in range(count):
            number = len(self.rows) + 1
            self.rows.append(Row(Place(number, number), partition % LOG_PARTITIONS, handled))

    def relay(self, count: int, *, dies: bool) -> None:
        """One run over every partition; one that dies has produced, and its cursors stay where they were."""
        for partition in range(LOG_PARTITIONS):
            previous = self.relayed[partition]
            fresh = [r for r in self.rows if r.partition == partition and r.place > previous][:count]
            for row in fresh:
                target = partition % self.count
                self.kafka[target].append(Message((TOPIC, target), self.next_offset[target], row, previous))
                self.next_offset[target] += 1
                previous = row.place
            if not dies:
                self.relayed[partition] = previous

    def lose(self, partition: int, count: int) -> None:
        self.kafka[partition] = self.kafka[partition][count:]

    def move(self, partition: int, to: int, *, zombie: bool) -> None:
        """A partition goes to another process; a zombie does not hear of it and keeps what it has."""
        loser = self.members[1 - to % 2]
        if partition in loser.positions:
            if not zombie:
                gone = [kafka.TopicPartition(TOPIC, partition)]
                self.feeds[1 - to % 2].revoked(loser, gone)
            del loser.positions[partition]
            loser.paused.discard(partition)
        self.assign(partition, to % 2)

    def work(self, process: int, count: int, *, commit: bool) -> bool:
        """One transaction of one process, one after the other as the locks would have it."""
        return at_once(self.transaction(self.brokers[process % 2], count, commit=commit))

    async def transaction(self, broker: kafka.KafkaBroker, count: int, *, commit: bool) -> bool:
        await broker.news(None)  # type: ignore[arg-type]
        claim = await broker.claim(None, CONSUMER, count)  # type: ignore[arg-type]
        if claim is None or not commit:
            return False
        self.handled += [d.place for d in claim.deliveries]
        await broker.advance(None, claim)  # type: ignore[arg-type]
        return bool(claim.deliveries)


def run(moves: list[Move]) -> World:
    """Play a schedule, then let everything come to rest: relays, both processes, and a look at the log."""
    world = World()
    play: dict[str, Callable[[int, int], Any]] = {
        "append": lambda p, n: world.append(p, n, handled=False),
        "chained": lambda p, n: world.append(p, n, handled=True),
        "relay": lambda _, n: world.relay(n, dies=False),
        "relay dies": lambda _, n: world.relay(n, dies=True),
        "lose": lambda p, n: world.lose(p % world.count, n),
        "move": lambda p, n: world.move(p % world.count, n, zombie=False),
        "zombie": lambda p, n: world.move(p % world.count, n, zombie=True),
        "grow": lambda _p, _n: grow(world),
        "work": lambda p, n: world.work(p, n, commit=True),
        "roll back": lambda p, n: world.work(p, n, commit=False),
    }
    for name, first, second in moves:
        play[name](first, second)
    world.relay(1_000, dies=False)
    for look_back in (False, True):
        world.rested = len(world.handled)
        for _ in range(ROUNDS_MAX):
            for broker in world.brokers:
                if look_back:
                    broker._look_back_due.clear()
                at_once(world.transaction(broker, 100, commit=True))
    return world


def at_once(coroutine: Coroutine[Any, Any, bool]) -> bool:
    """The result of a coroutine that never waits; an event loop for each would take most of the time."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return bool(end.value)
    raise AssertionError("the simulation has nothing to wait for")


def grow(world: World) -> None:
    world.count += 1
    world.assign(world.count - 1, world.count % 2)


def sound(world: World) -> bool:
    """Every event that needs handling was handled once, and those of a partition in the order of the log."""
    return all(
        [p for p in world.handled if world.rows[p.position - 1].partition == partition]
        == [r.place for r in world.rows if r.partition == partition and not r.handled]
        for partition in range(LOG_PARTITIONS)
    )


@pytest.fixture(autouse=True)
def _only_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "LOOK_BACK_EVERY_S", 1e9)
    monkeypatch.setattr(kafka, "OFFSETS_EVERY_S", 0.0)
    monkeypatch.setattr(kafka, "BUFFER_MAX", 4)


@settings(max_examples=SCHEDULES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MOVES)
@example(PAUSED_WHILE_ANOTHER_COMES)
@example(GAPS_IN_MORE_THAN_THE_LOG_GIVES_AT_ONCE)
def test_no_schedule_loses_doubles_or_reorders(moves: list[Move]) -> None:
    world = run(moves)
    assert sound(world), (moves, world.handled)
    if not any(name == "lose" for name, _, _ in moves):
        assert world.rested == len(world.handled), (
            "Kafka brought everything, and something was left to the look at the log"
        )


def test_an_event_that_is_newer_than_the_process_is_not_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.append(0, 2, handled=False)
    world.relay(2, dies=False)
    with monkeypatch.context() as older:
        older.setattr(kafka, "BY_NAME", {})
        older.setattr(kafka, "CONSUMES", {CONSUMER: frozenset()})
        older.setattr("sentinai.messaging.cloudevents.decode", lambda *_: decode("SomethingNewer", 1, b"{}"))
        with pytest.raises(Unavailable, match="newer than this process"):
            world.work(0, 4, commit=True)
    assert world.cursors[TOPIC, 0] == NOWHERE
    world.work(0, 4, commit=True)
    assert len(world.handled) == 2


def _trusts_that_nothing_is_missing(patch: pytest.MonkeyPatch) -> None:
    plain = kafka.carried
    patch.setattr(kafka, "carried", lambda headers: plain(headers)._replace(previous=NOWHERE))


def _forgets_the_cursor(patch: pytest.MonkeyPatch) -> None:
    lock = World.lock

    async def at_the_beginning(self: World, *arguments: Any) -> Any:
        return Cursors(dict.fromkeys((await lock(self, *arguments)).ends, NOWHERE), {})

    patch.setattr(World, "lock", at_the_beginning)


def _takes_messages_away_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    plain = kafka.Feed.next

    def taking(self: kafka.Feed, key: Any, cursor: Place, *limits: int) -> Any:
        found = plain(self, key, cursor, *limits)
        for delivery in found or ():
            self._reached[key] = max(delivery.place, self._reached.get(key, NOWHERE))
        return found

    patch.setattr(kafka.Feed, "next", taking)


@pytest.mark.parametrize(
    "plant", [_trusts_that_nothing_is_missing, _forgets_the_cursor, _takes_messages_away_before_the_commit]
)
def test_a_planted_bug_is_found(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation is worth something: each of these is found, and shrunk to a handful of moves."""
    plant(monkeypatch)
    try:
        smallest = find(MOVES, lambda moves: not sound(run(moves)), settings=settings(max_examples=3_000))
    except NoSuchExample:
        pytest.fail("the planted bug was not found")
    assert len(smallest) <= 8, smallest
