"""What becomes of a call after an attempt: done, failed, unknown, or again? The one table that decides it.

| the attempt                                     | idempotent tool           | any other tool            |
|-------------------------------------------------|---------------------------|---------------------------|
| answered, and the answer fits                   | SUCCEEDED                 | SUCCEEDED                 |
| never began, waited less than PATIENCE          | again, not counted        | again, not counted        |
| never began, waited longer, or may not begin    | FAILED                    | FAILED                    |
| not sent or refused, may work later             | again, at last FAILED     | again, at last FAILED     |
| not sent or refused, will not work              | FAILED                    | FAILED                    |
| sent, no usable answer (a 2xx that does not fit)| again, at last FAILED     | UNKNOWN                   |
"""

import asyncio
import json
from datetime import timedelta

import msgspec

from sentinai.errors import Denied, Missing, Rejected, SentinaiError, Unavailable
from sentinai.models.json import Json
from sentinai.models.tool import ExecutionStatus
from sentinai.packs.effective import Tool
from sentinai.security.masking import redact_pii
from sentinai.tools.fate import BEGINNING_CHARS_MAX, AnswerUnusable, NotBegun, Said, Why, fate_of
from sentinai.tools.gate import check_output
from sentinai.tools.provider import ToolResult

PATIENCE = timedelta(minutes=15)
"""How long a call may wait for a busy tool, or one that is given a rest."""
ERROR_CHARS_MAX = 2_000


class Ended(msgspec.Struct, frozen=True):
    """How an attempt ended: with an output, for good with an error, or with another try after `delay_s`."""

    output: Json = None
    """Redacted."""
    error: str | None = None
    """Redacted; None for SUCCEEDED only."""
    status: ExecutionStatus = ExecutionStatus.SUCCEEDED
    """SUCCEEDED, FAILED (surely not done, or idempotent) or UNKNOWN; REQUESTED where there will be another attempt."""
    delay_s: float | None = None
    """Set where there will be another attempt."""
    counted: bool = True
    """Whether the attempt was one: false for a call that never began."""
    why: Why | None = None
    """What a call that never began waits for."""
    said: Said | None = None
    """What came as an answer that cannot be used."""


def judge(tool: Tool, outcome: ToolResult | BaseException, attempt: int, waited: timedelta, backoff_s: float) -> Ended:
    """What becomes of the call after attempt number `attempt` (from 1) ended in `outcome`.

    `waited` is the time since the call was requested, `backoff_s` the delay before another attempt, unless the error
    asks for a longer one. An error counts as sent unless its fate says otherwise (`fate_of`).
    """
    if isinstance(outcome, ToolResult):
        try:
            check_output(tool, outcome.output)
            return Ended(output=redact_pii(outcome.output))
        except Rejected as error:
            outcome = AnswerUnusable(error.message, _said(outcome), error.problems)
        except RecursionError:
            outcome = AnswerUnusable("the answer is nested too deep", _said(outcome))
    return _judged(tool, outcome, attempt, waited, backoff_s)


def _judged(tool: Tool, error: BaseException, attempt: int, waited: timedelta, backoff_s: float) -> Ended:
    fate = fate_of(error)
    again = Ended(
        error=error_text(error), status=ExecutionStatus.REQUESTED, delay_s=max(fate.retry_after_s or 0.0, backoff_s)
    )
    again = msgspec.structs.replace(again, counted=fate.started, **_more(error))
    failed = msgspec.structs.replace(again, status=ExecutionStatus.FAILED, delay_s=None)
    if not fate.started:
        return again if waited < PATIENCE and not isinstance(error, Rejected | Denied | Missing) else failed
    if fate.may_be_done and not tool.idempotent:
        return msgspec.structs.replace(failed, status=ExecutionStatus.UNKNOWN)
    may_work_later = isinstance(error, Unavailable | asyncio.CancelledError) or fate.may_be_done
    return again if may_work_later and attempt < tool.retry.max_attempts else failed


def _more(error: BaseException) -> dict[str, Json]:
    return {
        "why": error.why if isinstance(error, NotBegun) else None,
        "said": error.said if isinstance(error, AnswerUnusable) else None,
    }


def _said(result: ToolResult) -> Said:
    """Of an answer that was read; secrets were cut out of it then. Nothing of one that is nested too deep to be shown."""
    try:
        text = json.dumps(redact_pii(result.output), ensure_ascii=False)
    except RecursionError:
        text = ""
    return Said(result.status_code, result.media_type, text[:BEGINNING_CHARS_MAX])


def error_text(error: BaseException) -> str:
    """For the record: redacted and bounded. Of a bug only its kind, since libraries quote what they stumble over."""
    if isinstance(error, asyncio.CancelledError):
        return "the call was cut off"
    if not isinstance(error, SentinaiError):
        return f"a fault of ours: {type(error).__name__}"
    text = "; ".join([str(error), *(f"{p.pointer}: {p.detail}" for p in error.problems)])
    return str(redact_pii(text))[:ERROR_CHARS_MAX]
