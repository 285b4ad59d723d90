"""How are due tool calls made: leased, called outside any transaction, recorded once?"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import structlog

from sentinai.errors import Conflict, Denied, Missing, Rejected, SentinaiError, Unavailable
from sentinai.events.tool import ToolExecutionCompleted, ToolExecutionFailed, ToolExecutionStarted
from sentinai.infrastructure.repositories.executions import Leased
from sentinai.models.tool import ExecutionStatus
from sentinai.orchestrator.recording import Cause, Recorder
from sentinai.packs.effective import Tool
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

Invoke = Callable[[ToolCall], Awaitable[ToolResult]]
log = structlog.get_logger()


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
        """One transaction: the leases, and the events that say so."""
        platform = self._platform
        async with platform.database.transaction() as tx:
            now = platform.clock()
            leased = await platform.executions.lease(tx, now, now + timedelta(seconds=LEASE_S), limit, but)
            if leased:
                started = [(c, ToolExecutionStarted(c.execution_id, c.tool, c.attempts)) for c in leased]
                await self._record(tx, started)
        return leased

    async def _perform(self, leased: Leased) -> None:
        try:
            ended = await self._call(leased)
        except Exception as error:  # the outer edge of the worker: a bug in a provider ends this call, not the process
            log.exception("tool_call_broke", tenant_id=leased.tenant_id, tool=leased.tool)
            ended = Ended(error=error_text(error), status=ExecutionStatus.UNKNOWN)
        await self._settle(leased, ended)

    async def _call(self, leased: Leased) -> Ended:
        try:
            tool = await self._resolve(leased)
        except Unavailable as error:
            delay_s = backoff_s(leased.attempts, RESOLVE_DELAY_S)
            return Ended(error=error_text(error), status=ExecutionStatus.REQUESTED, delay_s=delay_s)
        except (Rejected, Denied, Missing, Conflict) as error:
            return Ended(error=error_text(error), status=ExecutionStatus.FAILED)
        if leased.crashed and not tool.idempotent:
            return Ended(error=CRASHED, status=ExecutionStatus.UNKNOWN)
        return await self._attempt(leased, tool)

    async def _attempt(self, leased: Leased, tool: Tool) -> Ended:
        key = str(leased.execution_id)
        call = ToolCall(leased.execution_id, leased.tenant_id, tool, leased.input, leased.attempts, key)
        outcome: ToolResult | Exception
        try:
            outcome = await self._invoke(call)
        except Exception as error:  # the outer edge of the worker: also a bug in a provider is judged by what was sent
            if not isinstance(error, SentinaiError):
                log.exception("tool_call_broke", tenant_id=leased.tenant_id, tool=leased.tool)
            outcome = error
        waited = self._platform.clock() - leased.requested_at
        delay_s = backoff_s(leased.attempts, tool.retry.first_delay_s)
        return judge(tool, outcome, leased.attempts, waited, delay_s)

    async def _resolve(self, leased: Leased) -> Tool:
        """The tool as it is registered now, after the gate; raises Missing, Denied or Rejected."""
        platform = self._platform
        async with platform.database.transaction() as tx:
            used = [(leased.tenant_id, leased.config_hash)]
            await platform.configurations.load(tx, [leased.tenant_id], used)
            if leased.config_hash is None:
                tool = await platform.tools.registered(tx, leased.tenant_id, leased.tool)
                check_input(tool, leased.input)
                return tool
        config = platform.configurations.by_hash(leased.config_hash)
        assert config is not None
        if leased.is_channel:
            return channel_tool(config.channels[leased.tool])
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
            if not await platform.executions.holds(tx, leased):
                return
            if ended.delay_s is not None:
                due_at = platform.clock() + timedelta(seconds=ended.delay_s)
                await platform.executions.again(tx, leased, due_at, ended.error or "", counted=ended.counted)
                return
            await self._record(tx, [(leased, _event(leased, ended))])

    async def _record(self, tx: Any, facts: Sequence[tuple[Leased, msgspec.Struct]]) -> None:
        """Append each fact to its exception's stream, or to the call's own where a person asked for it directly."""
        platform = self._platform
        keys = {(c.tenant_id, c.exception_id) for c, _ in facts if c.exception_id is not None}
        states = await platform.exceptions.lock(tx, keys)
        recorder = Recorder(platform.new_id, platform.clock())
        for leased, body in facts:
            cause = Cause(f"tool:{leased.tool}", leased.causation_id, leased.config_hash)
            if leased.exception_id is not None:
                recorder.record(states[leased.tenant_id, leased.exception_id], body, cause)
            else:
                end = await platform.store.stream_end(tx, leased.tenant_id, leased.stream)
                recorder.record_on(end, body, cause)
        await platform.unit_of_work.write(tx, recorder.events, states.values())


def _event(leased: Leased, ended: Ended) -> msgspec.Struct:
    if ended.status is ExecutionStatus.SUCCEEDED:
        return ToolExecutionCompleted(leased.execution_id, leased.tool, ended.output, leased.attempts, leased.step)
    return ToolExecutionFailed(
        leased.execution_id, leased.tool, ended.status, ended.error or "", leased.attempts, leased.step
    )
