"""What would this configuration do? The stages of production over streams in memory, with everything from outside recorded.

The same functions decide here and in the workers; tools, people and time are what the caller says they are.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID, uuid5

from sentinai.errors import SentinaiError
from sentinai.events.control import DeadLettered
from sentinai.events.envelope import Body, Event
from sentinai.events.intake import ExceptionIngested, ExceptionNormalized
from sentinai.events.tool import ToolExecutionCompleted, ToolExecutionFailed, ToolExecutionRequested
from sentinai.models.actor import user
from sentinai.models.exception_record import ExceptionState
from sentinai.models.json import Json
from sentinai.models.tool import ExecutionStatus
from sentinai.orchestrator.people import Person
from sentinai.orchestrator.pipeline import CONSUMER_OF
from sentinai.orchestrator.recording import Cause, Recorder, Tracked, new_exception
from sentinai.orchestrator.stages import calls, intake
from sentinai.orchestrator.stages.catalog import BY_NAME
from sentinai.orchestrator.stages.occasion import Occasion, On, Situation
from sentinai.orchestrator.stages.timers import due
from sentinai.packs.effective import EffectiveConfig, TenantConfiguration

_SPACE = UUID("6f1f3d4e-1f0b-5f0e-9a55-0c6d5b1d9a10")
"""Names of exceptions and events of a replay are derived, so that the same replay gives the same streams."""
EVENTS_MAX = 20_000
"""Of one replay: more is a pack that never comes to rest."""

Refusal = Callable[[EffectiveConfig | None, TenantConfiguration, ToolExecutionRequested], str | None]
"""The tools' own gate: why a call may not be made with this input, or None."""


def _never_refused(*_: object) -> None:
    """A replay that was not given the tools' gate calls whatever policy lets through."""


class Replay:
    """Exceptions of one tenant under its active configurations."""

    def __init__(
        self,
        tenant: TenantConfiguration,
        now: datetime,
        refusal: Refusal = _never_refused,
        used: Sequence[EffectiveConfig] = (),
    ) -> None:
        self.tenant = tenant
        self.now = now
        self.events: dict[UUID, list[Event]] = {}
        """By exception."""
        self.waiting: list[Event] = []
        """Recorded, and not handled yet by the stage that consumes them; in the order of recording."""
        self._configs: Mapping[str, EffectiveConfig] = {c.hash: c for c in (*tenant.active, *used)}
        self._refusal = refusal
        self._tracked: dict[UUID, Tracked] = {}
        self._first: dict[str, UUID] = {}
        """The exception that is first under each dedup key."""
        self._numbers = count(1)

    def state(self, exception_id: UUID) -> ExceptionState:
        return self._tracked[exception_id].state

    @property
    def exceptions(self) -> list[UUID]:
        """In the order in which they began."""
        return list(self._tracked)

    # ---- what comes from outside -------------------------------------------------------------------------------------

    def report(self, body: ExceptionIngested, subject: str = "reporter") -> UUID:
        """A source system reports; returns the accepted id."""
        exception_id = uuid5(_SPACE, f"exception {len(self._tracked)}")
        self.record(exception_id, body, _actor(subject))
        return exception_id

    def person(
        self, exception_id: UUID, subject: str, decide: Callable[[ExceptionState, Person], list[Body]]
    ) -> list[Body]:
        """A command of a person (`orchestrator/people.py`). Raises what the command raises; nothing is recorded then."""
        who = Person(subject, _actor(subject), self.now)
        said = decide(self.state(exception_id), who)
        for body in said:
            self.record(exception_id, body, who.actor)
        return said

    def attempt(self, exception_id: UUID, execution_id: UUID) -> calls.Gate:
        """The next attempt of a requested call wants to begin; what the gate says is recorded."""
        request = self.request_of(exception_id, execution_id)
        number = sum(type(e.body).__name__ == "ToolExecutionStarted" for e in self._about(exception_id, execution_id))
        attempt = calls.Attempt(execution_id, request.tool, number + 1, request.step, request.channel)
        gate = calls.begin(self.situation(exception_id), attempt)
        for body in gate.said:
            self.record(exception_id, body, gate.actor)
        if gate.verdict == "stop":
            self.fail(exception_id, execution_id, f"not called: {gate.reason}")
        return gate

    def answer(self, exception_id: UUID, execution_id: UUID, output: Json) -> None:
        """The attempt under way succeeded."""
        request = self.request_of(exception_id, execution_id)
        body = ToolExecutionCompleted(execution_id, request.tool, output, 1, request.step)
        self.record(exception_id, body, f"tool:{request.tool}")

    def fail(
        self, exception_id: UUID, execution_id: UUID, error: str, status: ExecutionStatus = ExecutionStatus.FAILED
    ) -> None:
        """The call is over without an output."""
        request = self.request_of(exception_id, execution_id)
        body = ToolExecutionFailed(execution_id, request.tool, status, error, 1, request.step)
        self.record(exception_id, body, f"tool:{request.tool}")

    def tick(self, now: datetime) -> None:
        """Time has come so far."""
        self.now = now
        for exception_id in self.exceptions:
            for body in due(self.state(exception_id), now):
                self.record(exception_id, body, "system:sla")

    # ---- what the stages make of it ----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Handle everything that waits, and everything it leads to, in order."""
        for _ in range(EVENTS_MAX):
            if not self.waiting:
                return
            self.handle(self.waiting[0])
        raise AssertionError(f"no rest after {EVENTS_MAX} events")

    def handle(self, event: Event) -> None:
        """Have the stage that consumes it decide. An error makes the event a dead letter at once: nothing is tried again here."""
        self.waiting.remove(event)
        assert event.correlation_id is not None
        stage = BY_NAME[CONSUMER_OF[event.type]]
        situation = self.situation(event.correlation_id)
        occasion = Occasion(situation.state, situation.tenant, situation.config, situation.now, event)
        try:
            known = self._known(event, occasion)
            answer = stage.decide(occasion, known)
            under = stage.config(occasion, known)
        except SentinaiError as error:
            dead = DeadLettered(stage.name, event.sequence, type(error).__name__, error.message, 1)
            self.record(event.correlation_id, dead, "system:worker")
            return
        for said in answer:
            exception_id, body = said if isinstance(said, On) else (event.correlation_id, said)
            self.record(exception_id, body, f"agent:{stage.name}", under)

    def situation(self, exception_id: UUID) -> Situation:
        state = self.state(exception_id)
        return Situation(state, self.tenant, self._configs.get(state.config_hash or ""), self.now)

    def record(self, exception_id: UUID, body: Body, actor: str, under: EffectiveConfig | None = None) -> Event:
        """Append to an exception's stream and fold; one that is not there yet begins."""
        tracked = self._tracked.setdefault(exception_id, new_exception(self.tenant.tenant_id, exception_id))
        config_hash = under.hash if under is not None else tracked.state.config_hash
        event = self._recorder().record(tracked, body, Cause(actor, None, config_hash))
        self.events.setdefault(exception_id, []).append(event)
        if event.type in CONSUMER_OF:
            self.waiting.append(event)
        if isinstance(body, ExceptionNormalized) and body.dedup_key is not None:
            self._first[body.dedup_key] = exception_id
        return event

    def request_of(self, exception_id: UUID, execution_id: UUID) -> ToolExecutionRequested:
        request: ToolExecutionRequested = self._about(exception_id, execution_id)[0].body
        return request

    def _about(self, exception_id: UUID, execution_id: UUID) -> list[Event]:
        """What was recorded about a call by itself, its request first."""
        about = [e for e in self.events[exception_id] if e.type.startswith("ToolExecution")]
        return [e for e in about if e.body.execution_id == execution_id]

    def _known(self, event: Event, occasion: Occasion) -> Any:
        match BY_NAME[CONSUMER_OF[event.type]].name:
            case "intake":
                return intake.IntakeKnown(intake.read(event, self.tenant.active), self._first_under)
            case "tool" if not event.body.channel:
                return calls.CallChecks(self._refusal(occasion.config, occasion.tenant, event.body))
            case "tool":
                return calls.CallChecks(None)
        return None

    def _first_under(self, key: str) -> ExceptionState | None:
        exception_id = self._first.get(key)
        return self.state(exception_id) if exception_id is not None else None

    def _recorder(self) -> Recorder:
        return Recorder(partial(next, (uuid5(_SPACE, f"event {n}") for n in self._numbers)), self.now)


def _actor(subject: str) -> str:
    return user(subject, _SPACE)
