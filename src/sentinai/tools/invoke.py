"""How is one attempt made: within its deadline, not too many at once, and not against a tool that is down?"""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import msgspec

from sentinai.errors import Rejected, SentinaiError, Unavailable
from sentinai.observability.metrics import TOOL_CALLS, TOOL_SECONDS
from sentinai.tools.circuit import Circuit
from sentinai.tools.fate import NEVER_BEGAN, Fate, NotBegun, Unanswered, Why, carry, fate_of, has_fate
from sentinai.tools.provider import Begin, Provider, ToolCall, ToolResult
from sentinai.tools.wire import Phase, Wire, watching

BACKOFF_MAX_S = 300.0
DEADLINE_S = 30.0
"""For tools without an endpoint timeout; also the longest a tool may ask for."""
BUSY_FOR_S = 1.0
"""After a wait for a slot that was in vain."""
_BUSY = {
    Why.TOOL_BUSY: "too many calls of this tool are under way",
    Why.TENANT_BUSY: "too many calls of this tenant's tools are under way",
}
_UNTIL = {
    Phase.PREPARING: "no connection was free",
    Phase.CONNECTING: "no connection came about",
    Phase.CONNECTED: "nothing was sent",
    Phase.SENT: "no answer",
}

LaneKey = TypeVar("LaneKey")


class CallLimits(msgspec.Struct, frozen=True):
    """Bounds of one process."""

    per_tool: int = 16
    """Calls at once of one tenant's tool."""
    per_tenant: int = 32
    """Calls at once of one tenant."""
    wait_s: float = 20.0
    """Longest wait for a free slot; with the deadline it stays below the executor's lease of 60 s."""
    lanes: int = 10_000
    """Tools, and tenants, whose state is remembered."""


DEFAULT_LIMITS = CallLimits()


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


async def _at_once() -> None:
    """Nothing to record."""


class Invoker:
    """Calls providers. One per process; circuits are per tenant and tool."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        clock: Callable[[], float] = time.monotonic,
        limits: CallLimits = DEFAULT_LIMITS,
    ) -> None:
        self._providers = providers
        self._clock = clock
        self._limits = limits
        self._tools: OrderedDict[tuple[str, str], _Lane] = OrderedDict()
        self._tenants: OrderedDict[str, _Lane] = OrderedDict()

    async def __call__(self, call: ToolCall, begin: Begin = _at_once) -> ToolResult:
        """One attempt. Whatever it raises carries its fate (`fate_of`), a cancellation too.

        Raises NotBegun while the tool is given a rest or no slot becomes free, Unanswered past the deadline, else what
        the provider raises. `begin` is awaited once the attempt may begin, right before the provider is called and
        outside the deadline; if it raises, nothing was sent and the circuit stays as it was.
        """
        with _fated(NEVER_BEGAN):
            provider = self._provider(call)
            tool = _lane(self._tools, (call.tenant_id, call.tool.name), self._limits.per_tool, self._limits.lanes)
            tenant = _lane(self._tenants, call.tenant_id, self._limits.per_tenant, self._limits.lanes)
            try:
                tool.circuit.require_closed(self._clock())
                async with self._slots({Why.TOOL_BUSY: tool, Why.TENANT_BUSY: tenant}):
                    attempt = tool.circuit.enter(self._clock())
                    try:
                        await begin()
                        return await self._attempt(provider, call, tool.circuit, attempt)
                    finally:
                        tool.circuit.left(attempt)
            except NotBegun as error:
                TOOL_CALLS.labels(outcome="circuit_open" if error.why is Why.CIRCUIT_OPEN else "busy").inc()
                raise

    def _provider(self, call: ToolCall) -> Provider:
        provider = self._providers.get(call.tool.provider)
        if provider is None:
            raise Rejected(f"there is no tool provider {call.tool.provider!r}")
        return provider

    @asynccontextmanager
    async def _slots(self, lanes: Mapping[Why, _Lane]) -> AsyncIterator[None]:
        """One slot of each lane, all within the longest wait."""
        held: list[_Lane] = []
        for lane in lanes.values():
            lane.inside += 1
        try:
            try:
                async with asyncio.timeout(self._limits.wait_s):
                    for lane in lanes.values():
                        await lane.slots.acquire()
                        held.append(lane)
            except TimeoutError as error:
                busy = list(lanes)[len(held)]
                raise NotBegun(_BUSY[busy], busy, BUSY_FOR_S) from error
            yield
        finally:
            for lane in held:
                lane.slots.release()
            for lane in lanes.values():
                lane.inside -= 1

    async def _attempt(self, provider: Provider, call: ToolCall, circuit: Circuit, attempt: int) -> ToolResult:
        """The circuit hears only of attempts that reached the tool, or tried to."""
        try:
            result = await _within_deadline(provider, call)
        except SentinaiError as error:
            if fate_of(error).ours:
                outcome = "ours"
            elif isinstance(error, Unavailable):
                outcome = "unavailable"
                circuit.failed(self._clock(), attempt)
            else:
                outcome = "refused"
                circuit.answered()
            TOOL_CALLS.labels(outcome=outcome).inc()
            raise
        circuit.answered()
        TOOL_CALLS.labels(outcome="answered").inc()
        return result


async def _within_deadline(provider: Provider, call: ToolCall) -> ToolResult:
    endpoint = call.tool.endpoint
    deadline_s = min(DEADLINE_S, endpoint.timeout_s if endpoint else DEADLINE_S)
    wire = Wire(Phase.PREPARING if provider.watched else Phase.SENT)
    with _fated(wire), TOOL_SECONDS.time(), watching(wire):
        try:
            async with asyncio.timeout(deadline_s):
                return await provider.call(call)
        except TimeoutError as error:
            raise Unanswered(f"{_UNTIL[wire.phase]} within {deadline_s:g} s", wire.fate) from error


@contextmanager
def _fated(known: Fate | Wire) -> Iterator[None]:
    """Puts its fate on whatever passes and carries none yet."""
    try:
        yield
    except (Exception, asyncio.CancelledError) as error:  # nothing is held up: a bug and a cancellation have a fate too
        if not has_fate(error):
            carry(error, known if isinstance(known, Fate) else _seen(known, error))
        raise


def _seen(wire: Wire, error: BaseException) -> Fate:
    """Of an error without a fate of its own: the tool can be blamed for what is Unavailable, for nothing else."""
    return wire.fate if isinstance(error, Unavailable) else Fate(sent=wire.fate.sent, ours=True)


def _lane(lanes: OrderedDict[LaneKey, _Lane], key: LaneKey, slots: int, lanes_max: int) -> _Lane:
    """The lane of this key; the one not used for longest is forgotten when there are too many, unless it is in use."""
    lane = lanes.get(key)
    if lane is None:
        lane = lanes[key] = _Lane(asyncio.Semaphore(slots), Circuit())
    lanes.move_to_end(key)
    while len(lanes) > lanes_max and next(iter(lanes.values())).inside == 0:
        lanes.popitem(last=False)
    return lane
