"""How is one attempt made: within its deadline, not too many at once, and not against a tool that is down?"""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec

from sentinai.errors import Rejected, Unavailable
from sentinai.observability.metrics import TOOL_CALLS, TOOL_SECONDS
from sentinai.tools.circuit import Circuit
from sentinai.tools.provider import Provider, ToolCall, ToolResult

BACKOFF_MAX_S = 300.0
DEADLINE_S = 30.0
"""For tools without an endpoint timeout; also the longest a tool may ask for."""


Key = TypeVar("Key")


class Limits(msgspec.Struct, frozen=True):
    """Bounds of one process."""

    per_tool: int = 16
    """Calls at once of one tenant's tool."""
    per_tenant: int = 32
    """Calls at once of one tenant."""
    wait_s: float = 20.0
    """Longest wait for a free slot; with the deadline it stays below the executor's lease of 60 s."""
    lanes: int = 10_000
    """Tools, and tenants, whose state is remembered."""


DEFAULT_LIMITS = Limits()


def backoff_s(attempt: int, first_delay_s: float, rng: random.Random | None = None) -> float:
    """Exponential back-off with full jitter: uniform between 0 and first delay · 2^(attempt-1), at most BACKOFF_MAX_S.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    ceiling = min(BACKOFF_MAX_S, first_delay_s * 2 ** min(max(attempt - 1, 0), 30))
    return (rng or random).uniform(0, ceiling)


class _Lane(msgspec.Struct):
    """What is remembered of a tenant's tool, or of a tenant."""

    slots: asyncio.Semaphore
    circuit: Circuit
    inside: int = 0
    """Calls that hold a slot or wait for one."""


class Invoker:
    """Calls providers. One per process; circuits are per tenant and tool."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        clock: Callable[[], float] = time.monotonic,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._providers = providers
        self._clock = clock
        self._limits = limits
        self._tools: OrderedDict[tuple[str, str], _Lane] = OrderedDict()
        self._tenants: OrderedDict[str, _Lane] = OrderedDict()

    async def __call__(self, call: ToolCall, begin: Callable[[], Awaitable[None]]) -> ToolResult:
        """One attempt. Raises what the provider raises, and Unavailable past the deadline.

        Also Unavailable, with `started=False`, while the tool is given a rest or no slot becomes free.
        """
        tool = _lane(self._tools, (call.tenant_id, call.tool.name), self._limits.per_tool, self._limits.lanes)
        tenant = _lane(self._tenants, call.tenant_id, self._limits.per_tenant, self._limits.lanes)
        try:
            tool.circuit.require_closed(self._clock())
            async with self._slots(tool, tenant):
                tool.circuit.require_closed(self._clock())
                await begin()
                return await self._attempt(call, tool.circuit, tool.circuit.enter(self._clock()))
        except Unavailable as error:
            TOOL_CALLS.labels(outcome=_outcome(error)).inc()
            raise

    @asynccontextmanager
    async def _slots(self, *lanes: _Lane) -> AsyncIterator[None]:
        """One slot of each lane, all within the longest wait."""
        held: list[_Lane] = []
        for lane in lanes:
            lane.inside += 1
        try:
            try:
                async with asyncio.timeout(self._limits.wait_s):
                    for lane in lanes:
                        await lane.slots.acquire()
                        held.append(lane)
            except TimeoutError as error:
                raise Unavailable("too many calls are under way", sent=False, started=False, busy=True) from error
            yield
        finally:
            for lane in held:
                lane.slots.release()
            for lane in lanes:
                lane.inside -= 1

    async def _attempt(self, call: ToolCall, circuit: Circuit, attempt: int) -> ToolResult:
        try:
            result = await self._within_deadline(call)
        except Unavailable:
            circuit.failed(self._clock(), attempt)
            raise
        except Rejected:
            circuit.answered()
            TOOL_CALLS.labels(outcome="refused").inc()
            raise
        finally:
            circuit.left(attempt)
        circuit.answered()
        TOOL_CALLS.labels(outcome="answered").inc()
        return result

    async def _within_deadline(self, call: ToolCall) -> ToolResult:
        provider = self._providers.get(call.tool.provider)
        if provider is None:
            raise Rejected(f"there is no tool provider {call.tool.provider!r}")
        endpoint = call.tool.endpoint
        deadline_s = min(DEADLINE_S, endpoint.timeout_s if endpoint else DEADLINE_S)
        try:
            with TOOL_SECONDS.time():
                async with asyncio.timeout(deadline_s):
                    return await provider.call(call)
        except TimeoutError as error:
            raise Unavailable(f"no answer within {deadline_s:g} s", sent=True) from error


def _lane(lanes: OrderedDict[Key, _Lane], key: Key, slots: int, lanes_max: int) -> _Lane:
    """The lane of this key; the one not used for longest is forgotten when there are too many, unless it is in use."""
    lane = lanes.get(key)
    if lane is None:
        lane = lanes[key] = _Lane(asyncio.Semaphore(slots), Circuit())
    lanes.move_to_end(key)
    while len(lanes) > lanes_max and next(iter(lanes.values())).inside == 0:
        lanes.popitem(last=False)
    return lane


def _outcome(error: Unavailable) -> str:
    if error.details.get("started") is not False:
        return "unavailable"
    return "busy" if error.details.get("busy") else "circuit_open"
