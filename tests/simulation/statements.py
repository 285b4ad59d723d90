"""What does each statement of the repositories and the broker mean? Written after the SQL, one function for each.

`test_statements.py` runs the same work over PostgreSQL and compares. A statement looks first and locks then: in between
others may go on, and what has changed meanwhile is looked at again, as PostgreSQL does.
"""

import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from store import Row, Tx, place, turn

from sentinai.errors import Conflict
from sentinai.infrastructure.repositories import approvals, configurations, events, exceptions, executions
from sentinai.infrastructure.repositories.exceptions import decode_state
from sentinai.messaging import dead_letters, fairness, parked, postgres, publisher
from sentinai.messaging.broker import Place
from sentinai.orchestrator.pipeline import topics_of

Statement = Callable[..., Awaitable[list[Row] | None]]


def _unhandled(tx: Tx) -> list[Row]:
    """All that consumers may still have to take, in the order of the log."""
    own = tx.waiting() if tx.writes else []
    return sorted([*tx.store.waiting, *own], key=place) if own else tx.store.waiting


def _newer(tx: Tx, topic: str, partition: int, after: Place, tenant_id: str | None = None) -> list[Row]:
    horizon = tx.store.horizon()
    return [
        row
        for row in _unhandled(tx)
        if (row["topic"], row["partition"]) == (topic, partition)
        and tenant_id in (None, row["tenant_id"])
        and row["xid"] < horizon
        and place(row) > after
    ]


def _cursors(tx: Tx, consumer: str, partitions: Iterable[int]) -> list[Row]:
    wanted = set(partitions)
    return [r for r in tx.rows("consumer_cursor") if r["consumer"] == consumer and r["partition"] in wanted]


async def guard(tx: Tx, consumer: str, topics: Sequence[str], limit: int, partition: int | None) -> list[Row]:
    numbers = {r["partition"] for r in _unhandled(tx)} if partition is None else {partition}
    found = []
    for number in sorted(numbers):
        cursors = _cursors(tx, consumer, [number])
        if any(_newer(tx, k["topic"], number, place(k)) for k in cursors if k["topic"] in topics):
            found.append(number)
    random.shuffle(found)
    if found:
        await turn()
        tx.require_open()
    taken = [n for n in found if tx.try_lock("consumer_cursor", (consumer, topics[0], n))][:limit]
    return [{"partition": number} for number in taken]


def _within(rows: Sequence[Row], bytes_max: int) -> list[Row]:
    found, through = [], 0
    for row in sorted(rows, key=place):
        if through < bytes_max:
            through += len(row["payload"])
            found.append(row | {"through": through})
    return found


async def read(tx: Tx, consumer: str, partitions: Sequence[int], limit: int, bytes_max: int) -> list[Row]:
    found: list[Row] = []
    for k in _cursors(tx, consumer, partitions):
        found += _newer(tx, k["topic"], k["partition"], place(k))[:limit]
    return _within(found, bytes_max)


async def ahead(tx: Tx, consumer: str, partitions: Sequence[int], topics: Sequence[str]) -> list[Row]:
    rows = tx.rows("tenant_cursor")
    return [r for r in rows if r["consumer"] == consumer and r["partition"] in partitions and r["topic"] in topics]


async def save_cursors(
    tx: Tx,
    consumer: str,
    topics: Sequence[str],
    partitions: Sequence[int],
    xids: Sequence[int],
    positions: Sequence[int],
) -> None:
    for topic, partition, xid, position in zip(topics, partitions, xids, positions, strict=True):
        await tx.change("consumer_cursor", (consumer, topic, partition), {"xid": xid, "position": position})


def _stand(tx: Tx, consumer: str, k: Row, tenant_id: str) -> Place:
    """How far a tenant is: with the common cursor, or ahead of it."""
    return max(place(k), place(tx.get("tenant_cursor", (consumer, k["topic"], k["partition"], tenant_id))))


async def waiting_tenants(tx: Tx, consumer: str, topics: Sequence[str], partitions: Sequence[int]) -> list[Row]:
    known = {(r["partition"], r["tenant_id"]) for r in _unhandled(tx) if r["topic"] in topics}
    return [
        {"partition": partition, "tenant_id": tenant_id}
        for partition, tenant_id in sorted(known)
        if partition in partitions
        and any(
            _newer(tx, k["topic"], partition, _stand(tx, consumer, k, tenant_id), tenant_id)
            for k in _cursors(tx, consumer, [partition])
        )
    ]


async def read_turns(
    tx: Tx, consumer: str, partitions: Sequence[int], tenants: Sequence[str], limit: int, bytes_max: int
) -> list[Row]:
    found: list[Row] = []
    for partition, tenant_id in zip(partitions, tenants, strict=True):
        for k in _cursors(tx, consumer, [partition]):
            found += _newer(tx, k["topic"], partition, _stand(tx, consumer, k, tenant_id), tenant_id)[:limit]
    return _within(found, bytes_max)


async def save_ahead(tx: Tx, consumer: str, *columns: Sequence[Any]) -> None:
    for topic, partition, tenant_id, xid, position in zip(*columns, strict=True):
        key = consumer, topic, partition, tenant_id
        await tx.lock("tenant_cursor", key)
        row = {"consumer": consumer, "topic": topic, "partition": partition, "tenant_id": tenant_id}
        tx.put("tenant_cursor", key, row | {"xid": xid, "position": position})


async def forget_passed(tx: Tx, consumer: str, topics: Sequence[str], partitions: Sequence[int]) -> None:
    for row in tx.rows("tenant_cursor"):
        key = row["consumer"], row["topic"], row["partition"], row["tenant_id"]
        cursor = tx.get("consumer_cursor", key[:3])
        if key[0] == consumer and key[1] in topics and key[2] in partitions and place(row) <= place(cursor):
            await tx.lock("tenant_cursor", key)
            tx.put("tenant_cursor", key, None)


def _parked_key(row: Row) -> tuple[Any, ...]:
    return row["tenant_id"], row["consumer"], row["stream"], row["sequence"]


_PARKED = parked.Parked.__struct_fields__
_RETRIED = ("state", "attempts", "due_at", "error", "message")


async def park(tx: Tx, *columns: Sequence[Any]) -> None:
    for record in zip(*columns, strict=True):
        row = dict(zip(_PARKED, record, strict=True))
        there = await tx.lock("parked", _parked_key(row))
        tx.put("parked", _parked_key(row), row if there is None else there | {name: row[name] for name in _RETRIED})


async def streams_with_parked(tx: Tx, consumer: str, tenants: Sequence[str], streams: Sequence[str]) -> list[Row]:
    wanted = set(zip(tenants, streams, strict=True))
    found = {(r["tenant_id"], r["stream"]) for r in tx.rows("parked") if r["consumer"] == consumer}
    return [{"tenant_id": tenant_id, "stream": stream} for tenant_id, stream in sorted(found & wanted)]


async def take_due(tx: Tx, consumer: str, now: Any, limit: int) -> list[Row]:
    def is_due(row: Row) -> bool:
        return bool(row["state"] == "due" and row["due_at"] <= now)

    mine = [r for r in tx.rows("parked") if r["consumer"] == consumer]
    earliest: dict[tuple[str, str], Row] = {}
    for row in mine:
        earliest.setdefault((row["tenant_id"], row["stream"]), row)
    found = sorted((row for row in earliest.values() if is_due(row)), key=lambda row: row["due_at"])
    if found:
        await turn()
        tx.require_open()
    taken = []
    for row in found:
        if tx.try_lock("parked", _parked_key(row)):
            current = tx.get("parked", _parked_key(row))
            if current is not None and is_due(current):
                taken.append(current)
    return taken[:limit]


async def release(tx: Tx, *key: Any) -> None:
    await tx.lock("parked", key)
    tx.put("parked", key, None)


async def free_next(tx: Tx, tenant_id: str, consumer: str, stream: str, now: Any) -> list[Row]:
    later = [
        r for r in tx.rows("parked") if (r["tenant_id"], r["consumer"], r["stream"]) == (tenant_id, consumer, stream)
    ]
    if not later or later[0]["state"] != "behind":
        return []
    return await tx.change("parked", _parked_key(later[0]), {"state": "due", "due_at": now})


async def find_dead(tx: Tx, tenant_id: str, dead_letter_id: Any) -> list[Row]:
    return [
        row
        for row in tx.rows("parked")
        if (row["tenant_id"], row["dead_letter_id"], row["state"]) == (tenant_id, dead_letter_id, "dead")
    ]


async def retry_dead(tx: Tx, tenant_id: str, consumer: str, stream: str, sequence: int, now: Any) -> list[Row]:
    key = tenant_id, consumer, stream, sequence
    row = await tx.lock("parked", key)
    if row is None or row["state"] != "dead":
        return []
    return await tx.change("parked", key, {"state": "due", "due_at": now, "attempts": 0})


def _with_after(tx: Tx, row: Row) -> Row:
    return row | {"after": row["log_xid"] if row["log_xid"] > tx.id() else 0}


async def lock_exceptions(tx: Tx, tenants: Sequence[str], ids: Sequence[Any]) -> list[Row]:
    there = [key for key in zip(tenants, ids, strict=True) if tx.get("exception", key) is not None]
    found = []
    for key in sorted(there, key=lambda key: (key[1], key[0])):
        row = await tx.lock("exception", key)
        assert row is not None
        found.append(_with_after(tx, row))
    return found


async def lock_due(tx: Tx, now: Any, limit: int) -> list[Row]:
    def is_due(row: Row) -> bool:
        return bool(row["due_at"] is not None and row["due_at"] <= now)

    found = sorted((row for row in tx.rows("exception") if is_due(row)), key=lambda row: row["due_at"])
    if found:
        await turn()
        tx.require_open()
    taken = []
    for row in found:
        key = row["tenant_id"], row["exception_id"]
        if tx.try_lock("exception", key):
            current = tx.get("exception", key)
            assert current is not None
            if is_due(current):
                taken.append(_with_after(tx, current))
    return taken[:limit]


async def update_exceptions(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> None:
    for values in rows:
        new = dict(zip(exceptions.COLUMNS, values, strict=True))
        key = new["tenant_id"], new["exception_id"]
        row = await tx.lock("exception", key)
        assert row is not None
        changes = {name: new[name] for name in exceptions._CHANGING} | {"log_xid": max(row["log_xid"], tx.id())}
        tx.put("exception", key, row | changes)


async def insert_exceptions(tx: Tx, rows: Sequence[Row]) -> None:
    for row in rows:
        key = row["tenant_id"], row["exception_id"]
        if await tx.lock("exception", key) is not None:
            raise Conflict("there already")
        tx.put("exception", key, row | {"log_xid": tx.id()})


async def insert_events(tx: Tx, rows: Sequence[Row]) -> None:
    for row in rows:
        key = row["tenant_id"], row["stream"], row["sequence"]
        if await tx.lock("event", key) is not None:
            raise Conflict("sequence taken")
        tx.store.refuses(row)
        tx.put("event", key, {"xid": tx.id()} | row | {"position": tx.store.next_position})
        tx.store.next_position += 1


async def read_event(tx: Tx, *key: Any) -> list[Row]:
    row = tx.get("event", key)
    return [row] if row else []


async def claim_dedup_keys(tx: Tx, *columns: Sequence[Any]) -> list[Row]:
    found = []
    for tenant_id, dedup_key, exception_id, _ in sorted(zip(*columns, strict=True), key=lambda c: c[:2]):
        key = tenant_id, dedup_key
        row = await tx.lock("dedup", key)
        row = row or {"tenant_id": tenant_id, "dedup_key": dedup_key, "exception_id": exception_id}
        tx.put("dedup", key, row)
        found.append(row)
    return found


async def config_of(tx: Tx, *key: Any) -> list[Row]:
    row = tx.get("exception", key)
    return [{"config_hash": decode_state(row["state"]).config_hash}] if row is not None else []


async def take_dedup_keys(tx: Tx, *columns: Sequence[Any]) -> None:
    for tenant_id, dedup_key, exception_id, _ in zip(*columns, strict=True):
        await tx.change("dedup", (tenant_id, dedup_key), {"exception_id": exception_id})


_ASKED = (
    "tenant_id",
    "approval_id",
    "exception_id",
    "status",
    "reason",
    "step",
    "requested_by",
    "requested_at",
    "expires_at",
    "approvers",
)


async def insert_approvals(tx: Tx, *columns: Sequence[Any]) -> None:
    for record in zip(*columns, strict=True):
        key = record[0], record[1]
        assert await tx.lock("approval", key) is None
        tx.put("approval", key, dict(zip(_ASKED, record, strict=True)))


async def close_approvals(tx: Tx, *columns: Sequence[Any]) -> None:
    for tenant_id, approval_id, status, *_ in zip(*columns, strict=True):
        await tx.change("approval", (tenant_id, approval_id), {"status": status})


async def vote(tx: Tx, *columns: Sequence[Any]) -> None:
    for tenant_id, approval_id, actor in zip(*columns, strict=True):
        row = await tx.lock("approval", (tenant_id, approval_id))
        assert row is not None
        tx.put("approval", (tenant_id, approval_id), row | {"votes": [*row.get("votes", []), actor]})


async def find_approval(tx: Tx, *key: Any) -> list[Row]:
    row = tx.get("approval", key)
    return [row] if row else []


_REQUESTED = (
    "tenant_id", "execution_id", "exception_id", "stream", "step", "tool", "is_channel", "input", "config_hash",
    "requested_by", "requested_at", "causation_id", "idempotency_key",
)  # fmt: skip


async def request_executions(tx: Tx, *columns: Sequence[Any]) -> None:
    for record in zip(*columns, strict=True):
        row = dict(zip(_REQUESTED, record, strict=True))
        key = row["tenant_id"], row["execution_id"]
        if await tx.lock("tool_execution", key) is None:
            empty = dict.fromkeys(
                ("due_at", "lease_until", "started_at", "output", "error", "waits_for", "patient_since")
            )
            tx.put("tool_execution", key, row | empty | {"status": "REQUESTED", "attempts": 0, "idle_lease": None})


async def accept_executions(tx: Tx, tenants: Sequence[str], ids: Sequence[Any], now: Any) -> None:
    for key in zip(tenants, ids, strict=True):
        row = await tx.lock("tool_execution", key)
        if row is not None and row["status"] == "REQUESTED":
            tx.put("tool_execution", key, row | {"due_at": now})


async def start_executions(tx: Tx, *columns: Sequence[Any]) -> None:
    for tenant_id, execution_id, at in zip(*columns, strict=True):
        row = await tx.lock("tool_execution", (tenant_id, execution_id))
        if row is not None:
            started = {"started_at": row["started_at"] or at, "idle_lease": None, "waits_for": None}
            tx.put("tool_execution", (tenant_id, execution_id), row | started)


AT_REST = {"due_at": None, "lease_until": None, "waits_for": None}


async def end_executions(tx: Tx, *columns: Sequence[Any]) -> None:
    for tenant_id, execution_id, status, attempts, output, error, *_ in zip(*columns, strict=True):
        ended = {"status": status, "attempts": attempts, "output": output, "error": error}
        await tx.change("tool_execution", (tenant_id, execution_id), ended | AT_REST)


def _idle(row: Row) -> bool:
    """Its attempt has not passed the gate."""
    return bool(row["idle_lease"] is not None and row["idle_lease"] == row["lease_until"])


async def call_off_executions(tx: Tx, *columns: Sequence[Any]) -> None:
    for tenant_id, execution_id, reason, _ in zip(*columns, strict=True):
        row = await tx.lock("tool_execution", (tenant_id, execution_id))
        if row is not None and (row["status"] == "REQUESTED" or (row["status"] == "RUNNING" and _idle(row))):
            ended = {"status": "CANCELLED", "error": reason}
            tx.put("tool_execution", (tenant_id, execution_id), row | ended | AT_REST)


async def release_executions(tx: Tx, *columns: Sequence[Any]) -> None:
    for tenant_id, exception_id, at in zip(*columns, strict=True):
        waiting = [
            (row["tenant_id"], row["execution_id"])
            for row in tx.rows("tool_execution")
            if (row["tenant_id"], row["exception_id"]) == (tenant_id, exception_id)
        ]
        for key in waiting:
            row = await tx.lock("tool_execution", key)
            if row is not None and row["status"] == "REQUESTED" and row["waits_for"] == "APPROVAL":
                tx.put("tool_execution", key, row | {"due_at": at, "waits_for": None, "patient_since": at})


async def unknown_execution(tx: Tx, *key: Any) -> list[Row]:
    row = await tx.lock("tool_execution", key)
    return [{"bool": True}] if row is not None and row["status"] == "UNKNOWN" else []


async def lease_executions(tx: Tx, now: Any, limit: int, lease_until: Any, but: Sequence[str]) -> list[Row]:
    def is_open(row: Row) -> bool:
        due = row["due_at"] is not None and row["due_at"] <= now
        return bool(due and row["status"] in ("REQUESTED", "RUNNING"))

    found = [row for row in tx.rows("tool_execution") if is_open(row)]
    asking = sorted({row["tenant_id"] for row in found} - set(but))
    random.shuffle(asking)
    asking = asking[:limit]
    each = max(1, limit // max(1, len(asking)))
    if asking:
        await turn()
        tx.require_open()
    leased = []
    for tenant_id in asking:
        due = sorted((row for row in found if row["tenant_id"] == tenant_id), key=lambda row: row["due_at"])
        taken = 0
        for key in [(row["tenant_id"], row["execution_id"]) for row in due]:
            if taken == each or not tx.try_lock("tool_execution", key):
                continue
            row = tx.get("tool_execution", key)
            if row is not None and is_open(row):
                changes: Row = {"status": "RUNNING", "attempts": row["attempts"] + 1}
                crashed = row["status"] == "RUNNING" and not _idle(row)
                changes |= {"lease_until": lease_until, "due_at": lease_until}
                changes |= {"idle_lease": None if crashed else lease_until}
                tx.put("tool_execution", key, row | changes)
                told = {"key": row["idempotency_key"] or key[1], "crashed": crashed}
                told |= {"patient_since": row["patient_since"] or row["requested_at"]}
                leased.append(row | changes | told)
                taken += 1
    names = executions.Leased.__struct_fields__
    return [{name: row[name] for name in names} for row in leased]


async def hold_execution(tx: Tx, *key: Any) -> list[Row]:
    row = await tx.lock("tool_execution", key)
    return [{"lease_until": row["lease_until"]}] if row is not None and row["status"] == "RUNNING" else []


async def execute_again(
    tx: Tx, tenant_id: str, execution_id: Any, due_at: Any, error: str, uncounted: int, waits_for: str
) -> None:
    row = await tx.lock("tool_execution", (tenant_id, execution_id))
    if row is not None and row["status"] == "RUNNING":
        again = {"status": "REQUESTED", "due_at": due_at, "lease_until": None, "error": error, "idle_lease": None}
        again |= {"waits_for": waits_for}
        tx.put("tool_execution", (tenant_id, execution_id), row | again | {"attempts": row["attempts"] - uncounted})


async def config_versions(_tx: Tx, tenants: Sequence[str]) -> list[Row]:
    return [{"tenant_id": tenant_id, "config_version": 1, "suspended": False} for tenant_id in tenants]


async def notify(_tx: Tx, _topics: str) -> None:
    """Processes look for themselves."""


STATEMENTS: dict[str, Statement] = {
    postgres._GUARD: guard,
    postgres._READ: read,
    postgres._AHEAD: ahead,
    postgres._SAVE: save_cursors,
    fairness._TENANTS: waiting_tenants,
    fairness._READ: read_turns,
    fairness._SAVE: save_ahead,
    fairness._FORGET: forget_passed,
    parked._PARK: park,
    parked._STREAMS: streams_with_parked,
    parked._TAKE: take_due,
    parked._RELEASE: release,
    parked._NEXT: free_next,
    dead_letters._FIND: find_dead,
    dead_letters._RETRY: retry_dead,
    exceptions._LOCK: lock_exceptions,
    exceptions._DUE: lock_due,
    exceptions._CONFIG: config_of,
    exceptions._UPDATE: update_exceptions,
    exceptions._CLAIM_KEYS: claim_dedup_keys,
    exceptions._TAKE_KEYS: take_dedup_keys,
    events._READ_ONE: read_event,
    approvals._INSERT: insert_approvals,
    approvals._CLOSE: close_approvals,
    approvals._VOTE: vote,
    approvals._EXCEPTION_OF: find_approval,
    executions._REQUEST: request_executions,
    executions._ACCEPT: accept_executions,
    executions._START: start_executions,
    executions._END: end_executions,
    executions._CALL_OFF: call_off_executions,
    executions._RELEASE: release_executions,
    executions._UNKNOWN: unknown_execution,
    executions._LEASE: lease_executions,
    executions._HOLD: hold_execution,
    executions._AGAIN: execute_again,
    configurations._VERSIONS: config_versions,
    publisher.NOTIFY: notify,
}
COPIES = {"event": insert_events, "exception": insert_exceptions}


def register(tx: Tx, consumers: Iterable[str], partitions: int) -> None:
    """Every consumer's cursors, at the beginning of the log."""
    for consumer in consumers:
        for topic in topics_of(consumer):
            for partition in range(partitions):
                row = {"consumer": consumer, "topic": topic, "partition": partition, "xid": 0, "position": 0}
                tx.put("consumer_cursor", (consumer, topic, partition), row)
