"""How are due tool calls made: leased, called outside any transaction, recorded once?"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

import structlog

from sentinai.errors import Conflict, Denied, Missing, Rejected, SentinaiError, Unavailable
from sentinai.events.envelope import Body
from sentinai.events.tool import (
    ToolExecutionCompleted,
    ToolExecutionFailed,
    ToolExecutionRetryScheduled,
    ToolExecutionStarted,
)
from sentinai.infrastructure.repositories.executions import Leased, Waiting
from sentinai.messaging.broker import Connection
from sentinai.models.tool import ExecutionStatus
from sentinai.orchestrator.recording import Cause, Recorder, Tracked
from sentinai.orchestrator.stages.calls import Attempt, Gate, begin
from sentinai.orchestrator.stages.occasion import Situation
from sentinai.packs.effective import Tool
from sentinai.tools.fate import Why
from sentinai.tools.gate import check_allowed, check_input
from sentinai.tools.invoke import backoff_s
from sentinai.tools.judge import Ended, error_text, judge
from sentinai.tools.provider import ToolCall, ToolResult
from sentinai.workers.base import Platform
from sentinai.workers.channels import channel_tool

LEASE_S = 60.0
"""Longer than any tool's deadline (30 s); after it the call counts as crashed."""
CALLS_MAX = 128
"""Calls under way at once in this process."""
TENANT_CALLS_MAX = CALLS_MAX // 2
"""Of these, a tenant's: one whose tools are slow leaves room for others."""
RECORD_RETRIES_MAX = 20
RESOLVE_DELAY_S = 0.5
CRASHED = (
    "an earlier attempt may have reached the tool, and it is not idempotent: find out what happened, "
    "then complete or skip the step by hand"
)

Invoke = Callable[[ToolCall, Callable[[], Awaitable[None]]], Awaitable[ToolResult]]
log = structlog.get_logger()


class Withheld(Exception):
    """The gate did not let an attempt begin: nothing was sent. No fault of the tool, so no error of the tree."""

    def __init__(self, ended: Ended | None) -> None:
        """None where there is nothing left to record of the attempt."""
        super().__init__(ended.error if ended is not None else "nothing was begun")
        self.ended = ended


class ToolExecutor:
    """Takes due rows of `tool_execution`; `drain` lets calls under way finish at shutdown."""

    def __init__(self, platform: Platform, invoke: Invoke) -> None:
        self._platform = platform
        self._invoke = invoke
        self._running: dict[asyncio.Task[None], str] = {}
        """Calls under way, and whose they are."""

    async def take(self) -> int:
        """Lease what is due and start calling; returns how many calls were started."""
        free = CALLS_MAX - len(self._running)
        if free <= 0:
            return 0
        counts = Counter(self._running.values())
        full = [tenant for tenant, count in counts.items() if count >= TENANT_CALLS_MAX]
        most = max((count for count in counts.values() if count < TENANT_CALLS_MAX), default=0)
        leased = await self._lease(min(free, TENANT_CALLS_MAX - most), full)
        for call in leased:
            task = asyncio.create_task(self._perform(call))
            self._running[task] = call.tenant_id
            task.add_done_callback(self._running.pop)
        return len(leased)

    async def drain(self, timeout_s: float) -> None:
        """Wait for calls under way; those still running after the timeout are left to their lease."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=timeout_s)
            for task in late:
                task.cancel()

    async def _lease(self, limit: int, but: Sequence[str]) -> list[Leased]:
        """A lease is no attempt yet: circuit, slots and the gate come after it."""
        platform = self._platform
        async with platform.database.transaction() as tx:
            now = platform.clock()
            return await platform.executions.lease(tx, now, now + timedelta(seconds=LEASE_S), limit, but)

    async def _perform(self, leased: Leased) -> None:
        ended: Ended | None
        try:
            ended = await self._call(leased)
        except Exception as error:  # the outer edge of the worker: a bug in a provider ends this call, not the process
            log.exception("tool_call_broke", tenant_id=leased.tenant_id, tool=leased.tool)
            ended = Ended(error=error_text(error), status=ExecutionStatus.UNKNOWN)
        if ended is not None:
            await self._settle(leased, ended)

    async def _call(self, leased: Leased) -> Ended | None:
        try:
            tool = await self._resolve(leased)
        except Unavailable as error:
            if leased.crashed:  # what an earlier attempt may have done must not be forgotten: left to its lease
                return None
            delay_s = backoff_s(leased.attempts, RESOLVE_DELAY_S)
            return Ended(error=error_text(error), status=ExecutionStatus.REQUESTED, delay_s=delay_s, counted=False)
        except (Rejected, Denied, Missing, Conflict) as error:
            return Ended(error=error_text(error), status=ExecutionStatus.FAILED)
        except Exception as error:  # a fault of ours before anything was sent
            log.exception("tool_call_broke", tenant_id=leased.tenant_id, tool=leased.tool)
            return Ended(error=error_text(error), status=ExecutionStatus.FAILED)
        if leased.crashed and not tool.idempotent:
            return Ended(error=CRASHED, status=ExecutionStatus.UNKNOWN)
        return await self._attempt(leased, tool)

    async def _begin(self, leased: Leased) -> None:
        """The gate, right before anything is sent: all of policy, and the run, as they are now. Raises Withheld."""
        platform = self._platform
        async with platform.database.transaction() as tx:
            tracked = await self._lock(tx, leased)
            if not await platform.executions.holds(tx, leased):
                raise Withheld(None)
            gate = await self._gate(tx, leased, tracked)
            if gate.verdict == "wait":  # in the same transaction: the yes must find it waiting
                await platform.executions.wait(tx, leased, Waiting(None, Why.APPROVAL.name, gate.reason, counted=False))
        if gate.verdict == "wait":
            raise Withheld(None)
        if gate.verdict == "stop":
            raise Withheld(Ended(error=f"not called: {gate.reason}", status=ExecutionStatus.FAILED))

    async def _lock(self, tx: Connection, leased: Leased) -> Tracked | None:
        """The exception before the call, as everybody locks them; None for a call that a person asked for directly."""
        if leased.exception_id is None:
            return None
        key = (leased.tenant_id, leased.exception_id)
        return (await self._platform.exceptions.lock(tx, [key]))[key]

    async def _gate(self, tx: Connection, leased: Leased, tracked: Tracked | None) -> Gate:
        platform = self._platform
        if tracked is None:
            started = ToolExecutionStarted(leased.execution_id, leased.tool, leased.attempts)
            await self._record(tx, leased, tracked, [started])
            return Gate("go", [])
        used = [(leased.tenant_id, tracked.state.config_hash)]
        await platform.configurations.load(tx, [leased.tenant_id], used)
        tenant = platform.configurations.tenant(leased.tenant_id)
        config = platform.configurations.by_hash(tracked.state.config_hash)
        attempt = Attempt(leased.execution_id, leased.tool, leased.attempts, leased.step, leased.is_channel)
        gate = begin(Situation(tracked.state, tenant, config, platform.clock()), attempt)
        under = leased.config_hash if gate.verdict == "go" else tracked.state.config_hash
        await self._record(tx, leased, tracked, gate.said, Cause(gate.actor, leased.causation_id, under))
        return gate

    async def _attempt(self, leased: Leased, tool: Tool) -> Ended | None:
        key = str(leased.key)
        call = ToolCall(leased.execution_id, leased.tenant_id, tool, leased.input, leased.attempts, key)
        outcome: ToolResult | Exception
        try:
            outcome = await self._invoke(call, partial(self._begin, leased))
        except Withheld as error:
            return error.ended
        except Exception as error:  # the outer edge of the worker: also a bug in a provider is judged by what was sent
            if not isinstance(error, SentinaiError):
                log.exception("tool_call_broke", tenant_id=leased.tenant_id, tool=leased.tool)
            outcome = error
        waited = self._platform.clock() - leased.patient_since
        delay_s = backoff_s(leased.attempts, tool.retry.first_delay_s)
        return judge(tool, outcome, leased.attempts, waited, delay_s)

    async def _resolve(self, leased: Leased) -> Tool:
        """The tool as it is declared now, past its own gate; raises Missing, Denied or Rejected.

        A step's call is made under the configuration that its exception is under, which may be a newer one than it was asked
        for under: a run that began anew waits for it.
        """
        platform = self._platform
        async with platform.database.transaction() as tx:
            under = leased.config_hash
            if leased.exception_id is not None and leased.step is not None:
                under = await platform.exceptions.config_of(tx, (leased.tenant_id, leased.exception_id))
            await platform.configurations.load(tx, [leased.tenant_id], [(leased.tenant_id, under)])
            if under is None:
                tool = await platform.tools.registered(tx, leased.tenant_id, leased.tool)
                check_input(tool, leased.input)
                return tool
        config = platform.configurations.by_hash(under)
        assert config is not None
        if leased.is_channel:
            return channel_tool(config.channels[leased.tool])
        if leased.tool not in config.tools:
            raise Missing(f"no tool {leased.tool!r} in the exception's configuration", tool=leased.tool)
        disabled = platform.configurations.tenant(leased.tenant_id).disabled_tools
        check_allowed(leased.tool, config.approved_tools, f"{config.domain}.{leased.tool}" not in disabled)
        check_input(config.tools[leased.tool], leased.input)
        return config.tools[leased.tool]

    async def _settle(self, leased: Leased, ended: Ended) -> None:
        """Record the end once. Tried until the database is back: what the tool did must not be forgotten."""
        for attempt in range(1, RECORD_RETRIES_MAX + 1):
            try:
                await self._settle_once(leased, ended)
                return
            except (Unavailable, Conflict):
                await asyncio.sleep(backoff_s(attempt, 0.2))
        log.error("tool_result_not_recorded", tenant_id=leased.tenant_id, tool=leased.tool)

    async def _settle_once(self, leased: Leased, ended: Ended) -> None:
        platform = self._platform
        async with platform.database.transaction() as tx:
            tracked = await self._lock(tx, leased)
            if not await platform.executions.holds(tx, leased):
                await self._settle_late(tx, leased, tracked, ended)
            elif ended.status is ExecutionStatus.REQUESTED:
                due_at = None if ended.delay_s is None else platform.clock() + timedelta(seconds=ended.delay_s)
                waits_for = ended.why.name if ended.why is not None else "RETRY"
                waiting = Waiting(due_at, waits_for, ended.error or "", ended.counted)
                await platform.executions.wait(tx, leased, waiting)
                if ended.counted and due_at is not None:
                    await self._record(tx, leased, tracked, [_again(leased, ended, due_at)])
            else:
                await self._record(tx, leased, tracked, [_event(leased, ended)])

    async def _settle_late(self, tx: Connection, leased: Leased, tracked: Tracked | None, ended: Ended) -> None:
        """The lease was lost meanwhile. A success settles a call whose end was taken for unknown; nothing else is news."""
        succeeded = ended.status is ExecutionStatus.SUCCEEDED and ended.error is None
        if succeeded and await self._platform.executions.is_unknown(tx, leased):
            await self._record(tx, leased, tracked, [_event(leased, ended)])

    async def _record(
        self,
        tx: Connection,
        leased: Leased,
        tracked: Tracked | None,
        bodies: Sequence[Body],
        cause: Cause | None = None,
    ) -> None:
        """Append to the exception's stream, or to the call's own where a person asked for it directly."""
        platform = self._platform
        recorder = Recorder(platform.new_id, platform.clock())
        cause = cause or Cause(f"tool:{leased.tool}", leased.causation_id, leased.config_hash)
        if tracked is None:
            for body in bodies:
                end = await platform.store.stream_end(tx, leased.tenant_id, leased.stream)
                recorder.record_on(end, body, cause)
        else:
            for body in bodies:
                recorder.record(tracked, body, cause)
        await platform.unit_of_work.write(tx, recorder.events, [tracked] if tracked is not None else [])


def _again(leased: Leased, ended: Ended, due_at: datetime) -> ToolExecutionRetryScheduled:
    error = ended.error or ""
    return ToolExecutionRetryScheduled(leased.execution_id, leased.tool, leased.attempts, error, due_at)


def _event(leased: Leased, ended: Ended) -> Body:
    if ended.status is ExecutionStatus.SUCCEEDED:
        return ToolExecutionCompleted(leased.execution_id, leased.tool, ended.output, leased.attempts, leased.step)
    said = ended.said
    return ToolExecutionFailed(
        leased.execution_id,
        leased.tool,
        ended.status,
        ended.error or "",
        leased.attempts,
        leased.step,
        said.status_code if said else None,
        said.media_type if said else None,
        said.beginning if said else None,
    )
