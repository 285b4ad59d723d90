"""Do the test cases of a Domain Pack hold? Each is replayed through the stages of production to where it comes to rest."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from sentinai.errors import SentinaiError
from sentinai.events.envelope import Event
from sentinai.events.intake import ExceptionIngested
from sentinai.events.policy import PolicyEvaluated
from sentinai.events.tool import ToolExecutionRequested
from sentinai.models.exception_record import ExceptionState
from sentinai.models.json import Json
from sentinai.models.tool import ExecutionStatus
from sentinai.orchestrator import people
from sentinai.orchestrator.people import StepDone
from sentinai.orchestrator.replay import Refusal, Replay
from sentinai.packs.effective import EffectiveConfig, TenantConfiguration

RECEIVED_AT = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
"""When every case's report is received: results must not depend on the day they are run on."""
TURNS_MAX = 1_000


class CaseResult(NamedTuple):
    """One case; `differences` say what came out instead."""

    suite: str
    case: str
    differences: list[str]

    @property
    def passed(self) -> bool:
        return not self.differences


def run_cases(config: EffectiveConfig, domain: Mapping[str, Json], refusal: Refusal) -> list[CaseResult]:
    """All cases of a Domain Pack's test suites under a configuration; `refusal` is the tools' own gate."""
    return [
        CaseResult(suite["name"], case["name"], _differences(config, case, refusal))
        for suite in domain.get("testSuites", [])
        for case in suite["cases"]
    ]


def play(config: EffectiveConfig, case: Mapping[str, Json], refusal: Refusal) -> tuple[Replay, UUID]:
    """Report the case's delivery and go on, with the answers it gives, until nothing more can happen."""
    given = case["input"]
    tenant = TenantConfiguration(config.tenant_id, 1, False, (config,), frozenset())
    replay = Replay(tenant, RECEIVED_AT, refusal)
    occurred = datetime.fromisoformat(given["occurredAt"]) if "occurredAt" in given else None
    exception_id = replay.report(
        ExceptionIngested(
            given["sourceSystem"],
            given["rawPayload"],
            given.get("exceptionType"),
            given.get("domain"),
            given.get("externalId"),
            occurred,
        )
    )
    answers = {tool: list(outcomes) for tool, outcomes in case.get("answers", {}).items()}
    persons = list(case.get("people", []))
    for _ in range(TURNS_MAX):
        replay.settle()
        if not (_call(replay, answers) or _ask(replay, exception_id, persons)):
            break
    return replay, exception_id


def _call(replay: Replay, answers: dict[str, list[Json]]) -> bool:
    """Make the first call that waits for an answer the case gives; whether there was one."""
    for exception_id in replay.exceptions:
        for name, call in replay.state(exception_id).calls.items():
            execution_id = UUID(name)
            if call.status is not ExecutionStatus.REQUESTED or not answers.get(call.tool):
                continue
            if replay.attempt(exception_id, execution_id).verdict == "go":
                _answer(replay, exception_id, execution_id, answers[call.tool].pop(0))
                return True
    return False


def _answer(replay: Replay, exception_id: UUID, execution_id: UUID, outcome: Json) -> None:
    """An outcome is the tool's output, or one word of how it failed: `{failed: why}` or `{unknown: why}`."""
    match outcome:
        case {"failed": str(why), **others} if not others:
            replay.fail(exception_id, execution_id, why)
        case {"unknown": str(why), **others} if not others:
            replay.fail(exception_id, execution_id, why, ExecutionStatus.UNKNOWN)
        case _:
            replay.answer(exception_id, execution_id, outcome)


def _ask(replay: Replay, exception_id: UUID, persons: list[Json]) -> bool:
    """Have the next person of the case act on the first exception; whether there was one."""
    if not persons:
        return False
    act = persons.pop(0)
    state = replay.state(exception_id)
    subject = act.get("by", "operator" if "complete" in act or "skip" in act else "approver")
    approval_id = state.approvals[0].approval_id if state.approvals else UUID(int=0)
    if "approve" in act:
        replay.person(exception_id, subject, lambda s, w: people.approve(s, w, approval_id, act["approve"]))
    elif "reject" in act:
        replay.person(exception_id, subject, lambda s, w: people.reject(s, w, approval_id, act["reject"]))
    elif "complete" in act:
        done = StepDone(act["complete"], act.get("output"), None)
        replay.person(exception_id, subject, lambda s, w: people.complete(s, w, done))
    elif "skip" in act:
        replay.person(exception_id, subject, lambda s, w: people.skip(s, w, act["skip"], "as the case says"))
    return True


def found_in(replay: Replay, exception_id: UUID) -> dict[str, Json]:
    """What a case may expect of the first exception, by the words of `expected`."""
    state = replay.state(exception_id)
    events = replay.events[exception_id]
    empty = state.triaged_at is None
    found: dict[str, Json] = {
        "items": len([e for e in replay.exceptions if replay.state(e).triaged_at or replay.state(e).merged_into]),
        "status": str(state.status),
    }
    if empty:
        return found
    calls = [e.body for e in events if isinstance(e.body, ToolExecutionRequested)]
    return found | {
        "exceptionType": state.exception_type,
        "severity": state.severity,
        "title": state.title,
        "queue": state.queue,
        "owner": state.owner,
        "playbook": _playbook(state, events),
        "policy": state.policy_outcome,
        "tools": [call.tool for call in calls if not call.channel],
        "notified": [call.tool for call in calls if call.channel],
        "steps": {path: str(step.status) for path, step in state.run.steps.items()} if state.run else {},
    }


def _playbook(state: ExceptionState, events: Sequence[Event]) -> str | None:
    """The one that runs or ran; of an exception whose policy blocks it, the one that it blocked."""
    if state.run is not None:
        return state.run.playbook
    evaluated = [e.body for e in events if isinstance(e.body, PolicyEvaluated)]
    evidence = evaluated[-1].decision.evidence if evaluated else []
    fits = [
        e.rule.removeprefix("playbook ") for e in evidence if e.rule.startswith("playbook ") and e.outcome == "matched"
    ]
    return fits[0] if fits else None


def _differences(config: EffectiveConfig, case: Mapping[str, Json], refusal: Refusal) -> list[str]:
    try:
        replay, exception_id = play(config, case, refusal)
    except SentinaiError as error:
        return [error.message]
    dead = [e.body.message for e in replay.events[exception_id] if e.type == "DeadLettered"]
    found: dict[str, Json] = found_in(replay, exception_id)
    return dead + [
        f"{name}: expected {wanted!r}, got {found.get(name)!r}"
        for name, wanted in case["expected"].items()
        if found.get(name) != wanted
    ]
