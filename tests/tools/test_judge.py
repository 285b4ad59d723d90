"""What becomes of a call: every row of the table, for tools that are idempotent and for tools that are not."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from calls import tool
from hypothesis import given
from hypothesis import strategies as st

from sentinai.errors import Conflict, Denied, Missing, Rejected, Unavailable
from sentinai.models.tool import ExecutionStatus
from sentinai.tools.fate import (
    BEGINNING_CHARS_MAX,
    NEVER_BEGAN,
    AnswerUnusable,
    Fate,
    NotBegun,
    Refused,
    Said,
    Unanswered,
    Unsendable,
    Why,
    carry,
    fate_of,
)
from sentinai.tools.judge import ERROR_CHARS_MAX, PATIENCE, Ended, error_text, judge
from sentinai.tools.provider import ToolResult

FAILED, UNKNOWN, AGAIN = ExecutionStatus.FAILED, ExecutionStatus.UNKNOWN, ExecutionStatus.REQUESTED
SENT, UNSENT_BUT_TRIED = Fate(sent=True), Fate(sent=False)
ATTEMPTS_MAX = 3
BACKOFF_S = 0.25
STATUS = {"type": "object", "properties": {"status": {"enum": ["ok"]}}}


def of(*, idempotent: bool = True, **definition: Any) -> Any:
    retry = {"maxAttempts": ATTEMPTS_MAX, "firstDelay": "10ms"}
    return tool("https://psp.example.com/x", idempotent=idempotent, retry=retry, outputSchema=STATUS, **definition)


def judged(outcome: ToolResult | BaseException, *, attempt: int = 1, idempotent: bool, waited_s: float = 1) -> Ended:
    return judge(of(idempotent=idempotent), outcome, attempt, timedelta(seconds=waited_s), BACKOFF_S)


BUG_BEFORE = carry(KeyError("x"), Fate(sent=False, ours=True))
BUG_AFTER = carry(KeyError("x"), Fate(sent=True, ours=True))
UNUSABLE = AnswerUnusable("the answer is not JSON", Said(200, "text/html", "<p>"))
MISFIT = ToolResult({"status": "odd"}, 200, "application/json")
LATER = Fate(sent=True, refused=True)


@pytest.mark.parametrize(
    ("outcome", "idempotent_tool", "any_other"),
    [
        (Unanswered("connection refused", UNSENT_BUT_TRIED), (AGAIN, FAILED), (AGAIN, FAILED)),
        (Unanswered("pool", Fate(sent=False, ours=True)), (AGAIN, FAILED), (AGAIN, FAILED)),
        (Unanswered("429", LATER, 429), (AGAIN, FAILED), (AGAIN, FAILED)),
        (carry(asyncio.CancelledError(), UNSENT_BUT_TRIED), (AGAIN, FAILED), (AGAIN, FAILED)),
        (Unsendable("a blank"), (FAILED, FAILED), (FAILED, FAILED)),
        (carry(Missing("no secret"), Fate(sent=False, ours=True)), (FAILED, FAILED), (FAILED, FAILED)),
        (carry(Denied("not public"), Fate(sent=False, ours=True)), (FAILED, FAILED), (FAILED, FAILED)),
        (BUG_BEFORE, (FAILED, FAILED), (FAILED, FAILED)),
        (Refused("404", 404), (FAILED, FAILED), (FAILED, FAILED)),
        (Unanswered("503", SENT, 503), (AGAIN, FAILED), (UNKNOWN, UNKNOWN)),
        (carry(asyncio.CancelledError(), SENT), (AGAIN, FAILED), (UNKNOWN, UNKNOWN)),
        (BUG_AFTER, (AGAIN, FAILED), (UNKNOWN, UNKNOWN)),
        (UNUSABLE, (AGAIN, FAILED), (UNKNOWN, UNKNOWN)),
        (MISFIT, (AGAIN, FAILED), (UNKNOWN, UNKNOWN)),
        (Unavailable("says nothing of its fate"), (AGAIN, FAILED), (UNKNOWN, UNKNOWN)),
        (Rejected("says nothing of its fate"), (AGAIN, FAILED), (UNKNOWN, UNKNOWN)),
        (Conflict("says nothing of its fate"), (AGAIN, FAILED), (UNKNOWN, UNKNOWN)),
    ],
    ids=str,
)
def test_what_becomes_of_a_call_that_began(
    outcome: Any, idempotent_tool: tuple[ExecutionStatus, ...], any_other: tuple[ExecutionStatus, ...]
) -> None:
    """Of each pair: while attempts are left, and after the last one."""
    for idempotent, expected in ((True, idempotent_tool), (False, any_other)):
        ended = [judged(outcome, attempt=n, idempotent=idempotent) for n in (1, ATTEMPTS_MAX)]
        assert tuple(e.status for e in ended) == expected
        assert [e.delay_s for e in ended] == [BACKOFF_S if e.status is AGAIN else None for e in ended]
        assert all(e.counted and e.error and e.output is None for e in ended)


@pytest.mark.parametrize("idempotent", [True, False])
@pytest.mark.parametrize("attempt", [1, ATTEMPTS_MAX])
def test_a_call_that_never_began_waits_without_using_up_attempts(idempotent: bool, attempt: int) -> None:
    rest = NotBegun("given a rest", Why.CIRCUIT_OPEN, 7.0)
    ended = judged(rest, attempt=attempt, idempotent=idempotent)
    assert (ended.status, ended.delay_s, ended.counted, ended.why) == (AGAIN, 7.0, False, Why.CIRCUIT_OPEN)


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_call_that_could_not_begin_for_too_long_has_failed_and_says_what_it_waited_for(idempotent: bool) -> None:
    busy = NotBegun("too many calls", Why.TENANT_BUSY, 1.0)
    ended = judged(busy, idempotent=idempotent, waited_s=PATIENCE.total_seconds())
    assert (ended.status, ended.delay_s, ended.counted, ended.why) == (FAILED, None, False, Why.TENANT_BUSY)


@pytest.mark.parametrize(
    ("error", "status"), [(Unavailable("no database"), AGAIN), (RuntimeError("bug"), AGAIN), (Denied("run ended"), FAILED)]
)  # fmt: skip
def test_a_call_that_was_not_allowed_to_begin_is_not_unknown(error: Exception, status: ExecutionStatus) -> None:
    ended = judged(carry(error, NEVER_BEGAN), idempotent=False)
    assert (ended.status, ended.counted) == (status, False)


def test_an_answer_that_fits_is_the_output_without_personal_data() -> None:
    ended = judged(ToolResult({"status": "ok", "to": "ada@example.com"}, 200), idempotent=False)
    assert ended == Ended(output={"status": "ok", "to": "***@***"})
    assert (ended.status, ended.error, ended.delay_s, ended.counted) == (ExecutionStatus.SUCCEEDED, None, None, True)


@pytest.mark.parametrize("idempotent", [True, False])
def test_an_answer_that_does_not_fit_is_kept_as_it_began_and_says_where(idempotent: bool) -> None:
    answer = ToolResult({"status": "odd", "to": "ada@example.com", "é": "x" * 1000}, 201, "application/json")
    ended = judged(answer, idempotent=idempotent)
    assert ended.said is not None
    assert (ended.said.status_code, ended.said.media_type) == (201, "application/json")
    assert ended.said.beginning.startswith('{"status": "odd", "to": "***@***", "é": "xxx')
    assert len(ended.said.beginning) == BEGINNING_CHARS_MAX
    assert "/status" in (ended.error or "")


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("depth", [256, 900, 100_000])
def test_an_answer_that_is_nested_too_deep_may_have_been_done(checked: bool, depth: int) -> None:
    """What reads and checks answers goes 255 levels deep, or as deep as the stack."""
    deep: Any = {}
    for _ in range(depth):
        deep = {"status": deep}
    asked = of(idempotent=False) if checked else tool("https://psp.example.com/x")
    ended = judge(asked, ToolResult(deep, 200), 1, timedelta(), BACKOFF_S)
    if checked or depth > 1_000:
        assert ended.status is UNKNOWN
        assert "nested too deep" in (ended.error or "")
    else:
        assert ended.status is ExecutionStatus.SUCCEEDED


@pytest.mark.parametrize(("asked_s", "delay_s"), [(None, BACKOFF_S), (0.1, BACKOFF_S), (17.0, 17.0)])
def test_the_longer_of_back_off_and_what_the_tool_asks_for_is_waited(asked_s: float | None, delay_s: float) -> None:
    later = Unanswered("503", Fate(sent=True, retry_after_s=asked_s), 503)
    assert judged(later, idempotent=True).delay_s == delay_s


def test_the_record_of_an_error_is_redacted_and_bounded() -> None:
    assert error_text(Unsendable("for ada@example.com")) == "for ***@***"
    assert len(error_text(Unsendable("x" * 9_000))) == ERROR_CHARS_MAX
    assert error_text(ValueError("Illegal header value b' key'")) == "a fault of ours: ValueError"


fates = st.builds(
    Fate, sent=st.booleans(), started=st.booleans(), ours=st.booleans(), refused=st.booleans(), retry_after_s=st.none()
)
errors = st.sampled_from([Unavailable, Rejected, Denied, Missing, Conflict, KeyError, asyncio.CancelledError])


@given(fates, errors, st.integers(1, 5), st.booleans(), st.floats(0, 2_000))
def test_only_what_is_surely_not_done_fails_or_is_tried_again_by_a_tool_that_is_not_idempotent(
    fate: Fate, error: type[BaseException], attempt: int, idempotent: bool, waited_s: float
) -> None:
    """Whatever the error is: that it may have been done is enough."""
    failed = carry(error("x"), fate)
    assert fate_of(failed) == fate
    ended = judged(failed, attempt=attempt, idempotent=idempotent, waited_s=waited_s)
    uncertain = fate.sent and not fate.refused and fate.started
    assert (ended.status is UNKNOWN) == (uncertain and not idempotent)
    assert (ended.status is AGAIN) == (ended.delay_s is not None)
    assert ended.counted is fate.started
    if ended.status is AGAIN and ended.counted:
        assert attempt < ATTEMPTS_MAX
