"""How is one attempt made: within its deadline, not too many at once, and not against a tool that is down?"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping

import msgspec

from sentinai.errors import Rejected, Unavailable
from sentinai.observability.metrics import TOOL_CALLS, TOOL_SECONDS
from sentinai.tools.provider import Provider, ToolCall, ToolResult

BACKOFF_MAX_S = 300.0
CALLS_PER_TOOL_MAX = 16
FAILURES_TO_OPEN = 5
OPEN_FOR_S = 10.0
DEADLINE_S = 30.0
"""For tools without an endpoint timeout; also the longest a tool may ask for."""
CIRCUITS_MAX = 10_000


def backoff_s(attempt: int, first_delay_s: float, rng: random.Random | None = None) -> float:
    """Exponential back-off with full jitter: uniform between 0 and first delay · 2^(attempt-1), at most BACKOFF_MAX_S.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    ceiling = min(BACKOFF_MAX_S, first_delay_s * 2 ** min(max(attempt - 1, 0), 30))
    return (rng or random).uniform(0, ceiling)


class _Circuit(msgspec.Struct):
    """State of one tenant's tool: closed, or open until a time, after which one probe may pass."""

    slots: asyncio.Semaphore
    failures: int = 0
    open_until: float = 0.0


class Invoker:
    """Calls providers. One per process; circuits are per tenant and tool."""

    def __init__(self, providers: Mapping[str, Provider], clock: Callable[[], float] = time.monotonic) -> None:
        self._providers = providers
        self._clock = clock
        self._circuits: dict[tuple[str, str], _Circuit] = {}

    async def __call__(self, call: ToolCall) -> ToolResult:
        """One attempt. Raises what the provider raises; Unavailable also past the deadline or while the circuit is open."""
        circuit = self._circuit(call)
        if circuit.open_until > self._clock():
            TOOL_CALLS.labels(outcome="circuit_open").inc()
            wait_s = circuit.open_until - self._clock()
            raise Unavailable("the tool failed again and again; it is given a rest", sent=False, retry_after_s=wait_s)
        async with circuit.slots:
            return await self._attempt(call, circuit)

    async def _attempt(self, call: ToolCall, circuit: _Circuit) -> ToolResult:
        provider = self._providers.get(call.tool.provider)
        if provider is None:
            raise Rejected(f"there is no tool provider {call.tool.provider!r}")
        endpoint = call.tool.endpoint
        deadline_s = min(DEADLINE_S, endpoint.timeout_s if endpoint else DEADLINE_S)
        try:
            with TOOL_SECONDS.time():
                async with asyncio.timeout(deadline_s):
                    result = await provider.call(call)
        except TimeoutError as error:
            self._failed(circuit)
            raise Unavailable(f"no answer within {deadline_s:g} s", sent=True) from error
        except Unavailable:
            self._failed(circuit)
            raise
        circuit.failures = 0
        TOOL_CALLS.labels(outcome="answered").inc()
        return result

    def _failed(self, circuit: _Circuit) -> None:
        TOOL_CALLS.labels(outcome="unavailable").inc()
        circuit.failures += 1
        if circuit.failures >= FAILURES_TO_OPEN:
            circuit.open_until = self._clock() + OPEN_FOR_S
            circuit.failures = FAILURES_TO_OPEN - 1  # the probe after the rest decides

    def _circuit(self, call: ToolCall) -> _Circuit:
        key = call.tenant_id, call.tool.name
        if key not in self._circuits:
            if len(self._circuits) >= CIRCUITS_MAX:
                self._circuits.clear()
            self._circuits[key] = _Circuit(asyncio.Semaphore(CALLS_PER_TOOL_MAX))
        return self._circuits[key]
