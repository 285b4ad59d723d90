"""Does an attempt end in time, is a broken tool given a rest, and does back-off stay in its bounds?"""

import asyncio
import random

import pytest
from calls import call, tool
from hypothesis import given
from hypothesis import strategies as st

from sentinai.errors import Denied, Missing, Rejected, SentinaiError, Unavailable
from sentinai.tools.circuit import FAILURES_TO_OPEN, OPEN_FOR_S, Circuit
from sentinai.tools.fate import AnswerUnusable, Fate, NotBegun, Refused, Said, Unanswered, Unsendable, Why, fate_of
from sentinai.tools.invoke import BACKOFF_MAX_S, BUSY_FOR_S, CallLimits, Invoker, backoff_s
from sentinai.tools.provider import ToolCall, ToolResult

CALL = call(tool("https://psp.example.com/charge"))
OTHER_TENANTS = ToolCall(CALL.execution_id, "globex", CALL.tool, {}, 1, "key-2")


class Clock:
    """Time passes when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Broken:
    """A provider that fails with `error` until it is None."""

    watched = False

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.calls = 0

    async def call(self, call: ToolCall) -> ToolResult:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return ToolResult({"ok": True}, 200)


class Waiting:
    """A provider that does not answer before it is released."""

    watched = False

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.inside = 0
        self.cancelled = False

    async def call(self, call: ToolCall) -> ToolResult:
        self.inside += 1
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return ToolResult({})


async def _fail(invoke: Invoker, times: int, of: ToolCall = CALL) -> None:
    for _ in range(times):
        with pytest.raises(Unavailable):
            await invoke(of)


async def test_the_answer_of_the_provider_is_given_back() -> None:
    assert await Invoker({"http": Broken(None)})(CALL) == ToolResult({"ok": True}, 200)


async def test_a_provider_that_does_not_exist_is_refused() -> None:
    with pytest.raises(Rejected, match="no tool provider 'http'"):
        await Invoker({})(CALL)


async def test_an_attempt_ends_at_the_tools_deadline_and_may_have_arrived() -> None:
    slow = Waiting()
    of = call(tool("https://psp.example.com/charge", endpoint={"timeout": "20ms"}))
    with pytest.raises(Unavailable, match=r"within 0\.02 s") as caught:
        await Invoker({"http": slow})(of)
    assert fate_of(caught.value) == Fate(sent=True)
    assert slow.cancelled


async def test_a_tool_that_fails_again_and_again_is_given_a_rest() -> None:
    clock, provider = Clock(), Broken(Unanswered("down", Fate(sent=True)))
    invoke = Invoker({"http": provider}, clock)
    await _fail(invoke, FAILURES_TO_OPEN)
    clock.now += 4
    with pytest.raises(NotBegun, match="rest") as caught:
        await invoke(CALL)
    assert provider.calls == FAILURES_TO_OPEN
    assert (caught.value.why, caught.value.retry_after_s) == (Why.CIRCUIT_OPEN, OPEN_FOR_S - 4)
    assert fate_of(caught.value) == Fate(sent=False, started=False, ours=True, retry_after_s=OPEN_FOR_S - 4)


async def test_after_the_rest_one_failure_opens_the_circuit_again() -> None:
    clock, provider = Clock(), Broken(Unanswered("down", Fate(sent=True)))
    invoke = Invoker({"http": provider}, clock)
    await _fail(invoke, FAILURES_TO_OPEN)
    clock.now += OPEN_FOR_S
    await _fail(invoke, 2)
    assert provider.calls == FAILURES_TO_OPEN + 1


async def test_after_the_rest_one_answer_closes_the_circuit() -> None:
    clock, provider = Clock(), Broken(Unanswered("down", Fate(sent=True)))
    invoke = Invoker({"http": provider}, clock)
    await _fail(invoke, FAILURES_TO_OPEN)
    clock.now += OPEN_FOR_S
    provider.error = None
    await invoke(CALL)
    provider.error = Unanswered("down", Fate(sent=True))
    await _fail(invoke, FAILURES_TO_OPEN - 1)
    provider.error = None
    assert (await invoke(CALL)).output == {"ok": True}


async def test_after_the_rest_only_one_probe_is_under_way() -> None:
    clock, provider, waiting = Clock(), Broken(Unanswered("down", Fate(sent=True))), Waiting()
    providers = {"http": provider}
    invoke = Invoker(providers, clock)
    await _fail(invoke, FAILURES_TO_OPEN)
    clock.now += OPEN_FOR_S
    providers["http"] = waiting
    calls = [asyncio.create_task(invoke(CALL)) for _ in range(3)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED, timeout=5)
    waiting.release.set()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert waiting.inside == 1
    assert sum(isinstance(e, Unavailable) for e in ended) == 2


@pytest.mark.parametrize("error", [Refused("no"), Denied("no"), Missing("no secret")])
async def test_an_answer_that_says_no_does_not_open_the_circuit(error: SentinaiError) -> None:
    provider = Broken(error)
    invoke = Invoker({"http": provider}, Clock())
    for _ in range(FAILURES_TO_OPEN * 2):
        with pytest.raises(type(error)):
            await invoke(CALL)
    assert provider.calls == FAILURES_TO_OPEN * 2


async def test_the_circuit_of_one_tenant_is_not_anothers() -> None:
    provider = Broken(Unanswered("down", Fate(sent=True)))
    invoke = Invoker({"http": provider}, Clock())
    await _fail(invoke, FAILURES_TO_OPEN)
    provider.error = None
    assert (await invoke(OTHER_TENANTS)).output == {"ok": True}


async def test_a_probe_that_is_cancelled_lets_the_next_one_pass() -> None:
    clock, provider, waiting = Clock(), Broken(Unanswered("down", Fate(sent=True))), Waiting()
    providers = {"http": provider}
    invoke = Invoker(providers, clock)
    await _fail(invoke, FAILURES_TO_OPEN)
    clock.now += OPEN_FOR_S
    providers["http"] = waiting
    probe = asyncio.create_task(invoke(CALL))
    await _turns()
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    waiting.release.set()
    await invoke(CALL)
    assert waiting.inside == 2


async def _turns() -> None:
    """Let every task that can go on do so."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("limits", "at_once"),
    [(CallLimits(per_tool=3), 3), (CallLimits(per_tenant=2), 2), (CallLimits(per_tool=5, per_tenant=4), 4)],
)
async def test_a_tool_is_called_only_so_often_at_once(limits: CallLimits, at_once: int) -> None:
    waiting = Waiting()
    invoke = Invoker({"http": waiting}, Clock(), limits)
    calls = [asyncio.create_task(invoke(CALL)) for _ in range(10)]
    await _turns()
    assert waiting.inside == at_once
    waiting.release.set()
    assert len(await asyncio.gather(*calls)) == 10


async def test_one_tenant_does_not_take_the_slots_of_another() -> None:
    waiting = Waiting()
    invoke = Invoker({"http": waiting}, Clock(), CallLimits(per_tool=1, per_tenant=1))
    calls = [asyncio.create_task(invoke(of)) for of in (CALL, CALL, OTHER_TENANTS)]
    await _turns()
    assert waiting.inside == 2
    waiting.release.set()
    await asyncio.gather(*calls)


@pytest.mark.parametrize(
    ("limits", "why", "said"),
    [
        (CallLimits(per_tool=1, wait_s=0.01), Why.TOOL_BUSY, "calls of this tool"),
        (CallLimits(per_tenant=1, wait_s=0.01), Why.TENANT_BUSY, "calls of this tenant"),
    ],
)
async def test_a_call_that_gets_no_slot_in_time_was_not_started_and_says_why(
    limits: CallLimits, why: Why, said: str
) -> None:
    waiting = Waiting()
    invoke = Invoker({"http": waiting}, Clock(), limits)
    first = asyncio.create_task(invoke(CALL))
    await _turns()
    with pytest.raises(NotBegun, match=said) as caught:
        await invoke(CALL)
    assert (caught.value.why, caught.value.retry_after_s) == (why, BUSY_FOR_S)
    assert fate_of(caught.value) == Fate(sent=False, started=False, ours=True, retry_after_s=BUSY_FOR_S)
    waiting.release.set()
    await first
    await invoke(CALL)


async def test_a_cancelled_call_gives_its_slot_back() -> None:
    waiting = Waiting()
    invoke = Invoker({"http": waiting}, Clock(), CallLimits(per_tool=1, per_tenant=1))
    first = asyncio.create_task(invoke(CALL))
    await _turns()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    waiting.release.set()
    assert (await asyncio.wait_for(invoke(CALL), 5)).output == {}


async def test_calls_that_waited_do_not_reach_a_tool_that_failed_meanwhile() -> None:
    release, reached = asyncio.Event(), 0

    class Dying:
        watched = False

        async def call(self, call: ToolCall) -> ToolResult:
            nonlocal reached
            reached += 1
            await release.wait()
            raise Unanswered("down", Fate(sent=True))

    invoke = Invoker({"http": Dying()}, Clock(), CallLimits(per_tool=FAILURES_TO_OPEN))
    calls = [asyncio.create_task(invoke(CALL)) for _ in range(20)]
    await _turns()
    release.set()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(e, Unavailable) for e in ended)
    assert reached < 2 * FAILURES_TO_OPEN


async def test_a_circuit_is_remembered_while_many_other_tools_are_called() -> None:
    provider = Broken(Unanswered("down", Fate(sent=True)))
    invoke = Invoker({"http": provider}, Clock(), CallLimits(lanes=3))
    await _fail(invoke, FAILURES_TO_OPEN)
    provider.error = None
    for n in range(5):
        await invoke(ToolCall(CALL.execution_id, f"tenant-{n}", CALL.tool, {}, 1, "key"))
        with pytest.raises(Unavailable, match="rest"):
            await invoke(CALL)


# When an attempt begins.


async def test_an_attempt_begins_once_there_is_a_slot_and_before_the_provider_is_called() -> None:
    waiting, begun = Waiting(), []

    async def begin() -> None:
        begun.append(waiting.inside)

    invoke = Invoker({"http": waiting}, Clock(), CallLimits(per_tool=1))
    calls = [asyncio.create_task(invoke(CALL, begin)) for _ in range(3)]
    await _turns()
    assert begun == [0]
    waiting.release.set()
    await asyncio.gather(*calls)
    assert begun == [0, 1, 2]


async def test_a_call_that_gets_no_slot_and_one_whose_tool_rests_do_not_begin() -> None:
    async def begin() -> None:
        pytest.fail("it began")

    waiting, broken = Waiting(), Broken(Unanswered("down", Fate(sent=True)))
    providers: dict[str, Broken | Waiting] = {"http": broken}
    invoke = Invoker(providers, Clock(), CallLimits(per_tool=1, wait_s=0.01))
    await _fail(invoke, FAILURES_TO_OPEN)
    with pytest.raises(NotBegun) as rests:
        await invoke(CALL, begin)
    providers["http"] = waiting
    held = asyncio.create_task(invoke(OTHER_TENANTS))
    await _turns()
    with pytest.raises(NotBegun) as busy:
        await invoke(OTHER_TENANTS, begin)
    assert (rests.value.why, busy.value.why) == (Why.CIRCUIT_OPEN, Why.TOOL_BUSY)
    waiting.release.set()
    await held


@pytest.mark.parametrize("error", [Unavailable("no database"), Denied("the run has ended"), KeyError("bug")])
async def test_a_call_that_may_not_begin_is_not_made_and_leaves_circuit_and_slot(error: Exception) -> None:
    async def begin() -> None:
        raise error

    provider = Broken(None)
    invoke = Invoker({"http": provider}, Clock(), CallLimits(per_tool=1, per_tenant=1, wait_s=0.01))
    for _ in range(FAILURES_TO_OPEN * 2):
        with pytest.raises(type(error)) as caught:
            await invoke(CALL, begin)
        assert caught.value is error
    assert fate_of(error) == Fate(sent=False, started=False, ours=True)
    assert provider.calls == 0
    assert (await invoke(CALL)).output == {"ok": True}


async def test_a_probe_that_may_not_begin_lets_the_next_one_pass() -> None:
    async def begin() -> None:
        raise Unavailable("no database")

    clock, provider = Clock(), Broken(Unanswered("down", Fate(sent=True)))
    invoke = Invoker({"http": provider}, clock)
    await _fail(invoke, FAILURES_TO_OPEN)
    clock.now += OPEN_FOR_S
    with pytest.raises(Unavailable, match="no database"):
        await invoke(CALL, begin)
    provider.error = None
    assert (await invoke(CALL)).output == {"ok": True}


# What the circuit hears.


@pytest.mark.parametrize(
    "error",
    [Unsendable("a blank"), Rejected("of ours"), Missing("no secret"), Denied("not public"), KeyError("bug"),
     Unanswered("no connection was free", Fate(sent=False, ours=True))],
)  # fmt: skip
async def test_a_fault_of_ours_neither_opens_a_circuit_nor_closes_it(error: Exception) -> None:
    clock, provider = Clock(), Broken(error)
    invoke = Invoker({"http": provider}, clock)
    for _ in range(FAILURES_TO_OPEN * 2):
        with pytest.raises(type(error)):
            await invoke(CALL)
    assert provider.calls == FAILURES_TO_OPEN * 2
    provider.error = Unanswered("down", Fate(sent=True))
    await _fail(invoke, FAILURES_TO_OPEN - 1)
    provider.error = error
    with pytest.raises(type(error)):
        await invoke(CALL)
    provider.error = Unanswered("down", Fate(sent=True))
    await _fail(invoke, 1)
    with pytest.raises(NotBegun):
        await invoke(CALL)


@pytest.mark.parametrize("no", [Refused("no", 404), AnswerUnusable("not JSON", Said(200, "text/html", "<p>"))])
async def test_even_an_answer_that_says_no_shows_that_the_tool_is_there(no: Exception) -> None:
    provider = Broken(None)
    invoke = Invoker({"http": provider}, Clock())
    for _ in range(2):
        provider.error = Unanswered("down", Fate(sent=True))
        await _fail(invoke, FAILURES_TO_OPEN - 1)
        provider.error = no
        with pytest.raises(type(no)):
            await invoke(CALL)
    assert provider.calls == 2 * FAILURES_TO_OPEN


@pytest.mark.parametrize(("watched", "sent"), [(True, False), (False, True)])
async def test_of_a_provider_that_nobody_watches_every_error_counts_as_sent(watched: bool, sent: bool) -> None:
    provider = Broken(KeyError("bug"))
    provider.watched = watched
    with pytest.raises(KeyError) as caught:
        await Invoker({"http": provider})(CALL)
    assert fate_of(caught.value) == Fate(sent=sent, ours=True)


@given(st.integers(-5, 10_000), st.floats(0, 1e9))
def test_back_off_is_never_negative_and_never_beyond_its_maximum(attempt: int, first: float) -> None:
    assert 0 <= backoff_s(attempt, first) <= BACKOFF_MAX_S


@given(st.integers(1, 8), st.floats(0.01, 2), st.integers())
def test_back_off_doubles_its_ceiling_with_each_attempt(attempt: int, first: float, seed: int) -> None:
    assert backoff_s(attempt, first, random.Random(seed)) <= first * 2 ** (attempt - 1)


def test_back_off_is_spread_over_the_whole_range() -> None:
    delays = [backoff_s(4, 1.0, random.Random(seed)) for seed in range(200)]
    assert min(delays) < 1 < 7 < max(delays)


def test_a_call_from_before_the_circuit_opened_does_not_end_the_probe() -> None:
    circuit = Circuit()
    old = circuit.enter(0.0)
    for _ in range(FAILURES_TO_OPEN):
        circuit.failed(0.0, circuit.enter(0.0))
    probe = circuit.enter(OPEN_FOR_S)
    for late in (circuit.left, lambda attempt: circuit.failed(OPEN_FOR_S, attempt)):
        late(old)
        with pytest.raises(Unavailable):
            circuit.enter(OPEN_FOR_S)
    circuit.left(probe)
    assert circuit.enter(OPEN_FOR_S) > probe
