"""What would PostgreSQL do? Transactions, row locks and the log's horizon in memory, for one thread that takes turns.

The repositories and the broker run as they are; each of their statements has its meaning in `statements.py`. A statement
sees what is committed at that moment and the transaction's own writes (read committed); a crash drops the rest.
"""

import types
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sentinai.errors import Conflict, Unavailable
from sentinai.messaging.broker import Place

Row = dict[str, Any]
Key = tuple[Any, ...]
NOWHERE = Place(0, 0)
TABLES = (
    "event",
    "consumer_cursor",
    "tenant_cursor",
    "parked",
    "exception",
    "dedup",
    "approval",
    "tool_execution",
)


def place(row: Row | None) -> Place:
    """In the log, or of a cursor; without a row, before everything."""
    return Place(row["xid"], row["position"]) if row else NOWHERE


@types.coroutine
def turn() -> Generator[None, None, None]:
    """Here another process may go on, and this one may die."""
    yield


class Tx:
    """What a connection is inside a transaction, for the methods that repositories use."""

    def __init__(self, store: "Store", owner: object) -> None:
        self.store = store
        self.owner = owner
        self.xid: int | None = None
        self.waits_for: Tx | None = None
        self.writes: dict[tuple[str, Key], Row | None] = {}
        """By table and key; None deletes."""
        self.begun = self.over = False
        self.handled: list[tuple[str, str, str, int]] = []

    async def fetch(self, sql: str, *arguments: Any) -> list[Row]:
        await self._begin_statement()
        return await self.store.statement(sql)(self, *arguments) or []  # type: ignore[no-any-return]

    async def fetchrow(self, sql: str, *arguments: Any) -> Row | None:
        rows = await self.fetch(sql, *arguments)
        return rows[0] if rows else None

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        row = await self.fetchrow(sql, *arguments)
        return next(iter(row.values())) if row else None

    async def execute(self, sql: str, *arguments: Any) -> str:
        """The command tag ends with how many rows it changed."""
        return f"UPDATE {len(await self.fetch(sql, *arguments))}"

    async def copy_records_to_table(
        self, table: str, *, records: Sequence[Sequence[Any]], columns: Sequence[str]
    ) -> None:
        await self._begin_statement()
        await self.store.copy(self, table, [dict(zip(columns, record, strict=True)) for record in records])

    async def _begin_statement(self) -> None:
        """Between two statements others may go on."""
        if self.begun:
            await turn()
        self.begun = True
        self.require_open()

    def require_open(self) -> None:
        if self.over:
            raise Unavailable("the connection broke off")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """A savepoint. Its locks are kept, which holds others up a little longer than PostgreSQL would."""
        writes = dict(self.writes)
        try:
            yield
        except BaseException:
            self.writes = writes
            raise

    def id(self) -> int:
        """pg_current_xact_id()"""
        if self.xid is None:
            self.xid = self.store.next_xid
            self.store.next_xid += 1
        return self.xid

    def get(self, table: str, key: Key) -> Row | None:
        own = self.writes.get((table, key), ...)
        return self.store.tables[table].get(key) if own is ... else own

    def put(self, table: str, key: Key, row: Row | None) -> None:
        self.id()
        self.writes[table, key] = row

    def rows(self, table: str) -> list[Row]:
        """In the order of their keys."""
        rows: dict[Key, Row | None] = dict(self.store.tables[table])
        rows |= {key: row for (name, key), row in self.writes.items() if name == table}
        return [row for _, row in sorted(rows.items()) if row is not None]

    def waiting(self) -> list[Row]:
        """Events of its own that consumers have to handle."""
        events = (row for (table, _), row in self.writes.items() if table == "event" and row is not None)
        return [row for row in events if not row["handled"]]

    def try_lock(self, table: str, key: Key) -> bool:
        """Skip locked."""
        self.id()
        return self.store.locks.setdefault((table, key), self) is self

    async def lock(self, table: str, key: Key) -> Row | None:
        """Waits for whoever holds the row and returns what it is then. Raises Conflict for who would close a circle."""
        while not self.try_lock(table, key):
            self.waits_for = self.store.locks[table, key]
            holder: Tx | None = self.waits_for
            while holder is not None:
                if holder.waits_for is self:
                    self.waits_for = None
                    raise Conflict("deadlock")
                holder = holder.waits_for
            await turn()
            self.require_open()
        self.waits_for = None
        return self.get(table, key)

    async def change(self, table: str, key: Key, changes: Row) -> list[Row]:
        """Update one row by its key; the row as it is then, or nothing."""
        row = await self.lock(table, key)
        if row is None:
            return []
        self.put(table, key, row | changes)
        return [row | changes]

    def end(self, *, commit: bool) -> None:
        if self.over:
            return
        store, self.over, self.waits_for = self.store, True, None
        if commit and self.writes:
            store.commits += 1
            for (table, key), row in self.writes.items():
                if row is None:
                    store.tables[table].pop(key, None)
                else:
                    store.tables[table][key] = row
            store.waiting += self.waiting()
            store.waiting.sort(key=place)
            store.handled += self.handled
        store.running.discard(self)
        if self.xid is not None:
            store.locks = {row: tx for row, tx in store.locks.items() if tx is not self}


class Store:
    """Stands for the database: what `Database` is to everybody else."""

    def __init__(self, statements: Any, copies: Any) -> None:
        self.tables: dict[str, dict[Key, Row]] = {name: {} for name in TABLES}
        self.handled: list[tuple[str, str, str, int]] = []
        """(consumer, tenant, stream, sequence), in the order of the commits."""
        self.locks: dict[tuple[str, Key], Tx] = {}
        self.running: set[Tx] = set()
        self.next_xid = self.next_position = 1
        self.waiting: list[Row] = []
        """Committed events that consumers have to handle or have handled, in the order of the log: its index."""
        self.commits = 0
        """That changed something."""
        self.owner: object = None
        """On whose behalf code runs now."""
        self.silent: set[object] = set()
        """Owners that do not hear of their next commit."""
        self.refuses: Any = lambda _row: None
        """Raises for a row of the log that cannot be written."""
        self._statements, self._copies = statements, copies

    def statement(self, sql: str) -> Any:
        assert sql in self._statements, f"a statement that the simulation does not know: {sql}"
        return self._statements[sql]

    async def copy(self, tx: Tx, table: str, rows: Sequence[Row]) -> None:
        await self._copies[table](tx, rows)

    @asynccontextmanager
    async def transaction(self, _tenant_id: str | None = None) -> AsyncIterator[Tx]:
        tx = Tx(self, self.owner)
        self.running.add(tx)
        try:
            yield tx
            if tx.xid is not None:
                await turn()
            tx.require_open()
        except Exception:
            tx.end(commit=False)
            await turn()
            raise
        except BaseException:
            tx.end(commit=False)
            raise
        tx.end(commit=True)
        if tx.owner in self.silent:
            self.silent.discard(tx.owner)
            raise Unavailable("the connection broke off while it committed")
        if tx.xid is not None:
            await turn()

    def horizon(self) -> int:
        """The oldest transaction still running: nothing below it can still appear."""
        return min((tx.xid for tx in self.running if tx.xid is not None), default=self.next_xid)

    def seen(self) -> tuple[int, int, int]:
        """As long as this is the same, who found nothing to do would find nothing again."""
        return self.commits, self.horizon(), len(self.locks)

    def break_off(self, owner: object) -> None:
        """All connections of a process: the server drops what they had begun."""
        for tx in [tx for tx in self.running if tx.owner is owner]:
            tx.end(commit=False)
