"""Given these events, when this one comes, then those follow: a stage asked by itself, without any database.

    story = given(psp(code="chargeback"), triaged(severity="CRITICAL"))
    assert names(story.when(...)) == [...]

Events that a test gives are recorded and folded exactly as production does it; only the stage under test decides.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from typing import Any
from uuid import UUID

import msgspec
from sample_packs import DOMAIN, policy_for

from sentinai.events.envelope import Event
from sentinai.events.intake import ExceptionIngested, ExceptionNormalized
from sentinai.events.triage import TriageCompleted
from sentinai.models.decision import Decision
from sentinai.models.exception_record import ExceptionState
from sentinai.orchestrator.pipeline import CONSUMER_OF
from sentinai.orchestrator.recording import Cause, Recorder, Tracked, new_exception
from sentinai.orchestrator.stages.catalog import BY_NAME
from sentinai.orchestrator.stages.occasion import Occasion, On
from sentinai.packs.compile import compile_pair
from sentinai.packs.document import parse
from sentinai.packs.effective import EffectiveConfig, TenantConfiguration

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DECIDED = Decision("test", "GIVEN", 1.0, [], "none")


@cache
def compiled(domain: str = DOMAIN, policy: str | None = None) -> EffectiveConfig:
    """The tests' pack, or one made from it by replacing text."""
    return compile_pair(parse(domain).content, parse(policy or policy_for("acme")).content)


CONFIG = compiled()


@dataclass
class Story:
    """One exception and the events it has so far."""

    config: EffectiveConfig | None = CONFIG
    now: datetime = NOW
    active: tuple[EffectiveConfig, ...] | None = None
    """The tenant's active configurations now; the exception's own unless a test says otherwise."""
    disabled_tools: frozenset[str] = frozenset()
    numbers: Any = field(default_factory=lambda: count(1))
    tracked: Tracked = field(default_factory=lambda: new_exception("acme", UUID(int=7)))
    events: list[Event] = field(default_factory=list)

    @property
    def state(self) -> ExceptionState:
        return self.tracked.state

    @property
    def tenant(self) -> TenantConfiguration:
        active = self.active if self.active is not None else (self.config,) if self.config else ()
        return TenantConfiguration("acme", 1, False, active, self.disabled_tools)

    @property
    def own(self) -> EffectiveConfig | None:
        """The configuration that the exception is under by now."""
        return next((c for c in self.tenant.active if c.hash == self.state.config_hash), self.config)

    def record(self, body: msgspec.Struct, actor: str | None = None, under: EffectiveConfig | None = None) -> Event:
        """Record one event of the exception and fold it."""
        recorder = Recorder(lambda: UUID(int=next(self.numbers)), self.now)
        who = actor or f"agent:{_recorded_by(body)}"
        config = under or self.own
        event = recorder.record(self.tracked, body, Cause(who, None, config.hash if config else None))
        self.events.append(event)
        return event

    def given(self, *bodies: "msgspec.Struct | timedelta | By") -> "Story":
        """More of the past: events (by whom), and time that passes between them."""
        for body in bodies:
            if isinstance(body, timedelta):
                self.now += body
            elif isinstance(body, By):
                self.record(body.body, body.actor)
            else:
                self.record(body)
        return self

    def when(self, body: "msgspec.Struct | By", **known: Any) -> list[msgspec.Struct]:
        """Record this event too and ask its consumer; what the consumer says is recorded and returned."""
        plain, actor = (body.body, body.actor) if isinstance(body, By) else (body, None)
        return self.handle(self.record(plain, actor), **known)

    def handle(self, event: Event, **known: Any) -> list[msgspec.Struct]:
        """Ask the consumer of an event that is part of the past already: a notification that comes late."""
        return list(_decide(self, event, known))

    def run(self, *bodies: "msgspec.Struct | By") -> "Story":
        """Record events and everything they lead to, stage by stage, as chaining does."""
        for body in bodies:
            plain, actor = (body.body, body.actor) if isinstance(body, By) else (body, None)
            waiting = [self.record(plain, actor)]
            while waiting:
                event = waiting.pop(0)
                if event.type in CONSUMER_OF and CONSUMER_OF[event.type] != "tool":
                    mark = len(self.events)
                    self.handle(event)
                    waiting += self.events[mark:]
        return self


@dataclass(frozen=True)
class By:
    """An event that a person, a tool or the system caused."""

    actor: str
    body: msgspec.Struct


def given(*bodies: Any, **world: Any) -> Story:
    return Story(**world).given(*bodies)


def ingested(payload: Any = None, source: str = "psp", **more: Any) -> By:
    return By("user:reporter", ExceptionIngested(source, payload if payload is not None else payment(), **more))


def payment(number: str = "p1", code: str = "card_declined", amount: int = 500, **more: Any) -> dict[str, Any]:
    return {"id": number, "amount": amount, "code": code, "created": "2026-01-31T11:00:00Z", **more}


def normalized(context: dict[str, Any] | None = None, **more: Any) -> ExceptionNormalized:
    values = {"paymentId": "p1", "amountMinor": 500, "tier": "standard"} if context is None else context
    return ExceptionNormalized(DECIDED, "payments", "psp", values, **more)


def triaged(
    kind: str = "CARD_DECLINED", severity: str = "LOW", confidence: float = 0.95, **more: Any
) -> TriageCompleted:
    return TriageCompleted(DECIDED, kind, severity, confidence, **more)


def names(bodies: Iterable[Any]) -> list[str]:
    return [type(body).__name__ for body in bodies]


def only(bodies: Sequence[Any], kind: type[Any]) -> Any:
    """The one event of that type."""
    (found,) = [body for body in bodies if isinstance(body, kind)]
    return found


def _recorded_by(body: msgspec.Struct) -> str:
    return CONSUMER_OF.get(type(body).__name__, "test")


def _decide(story: Story, event: Event, known: dict[str, Any]) -> Iterable[msgspec.Struct]:
    stage = BY_NAME[CONSUMER_OF[event.type]]
    occasion = Occasion(story.state, story.tenant, story.own, story.now, event)
    under = stage.config(occasion, known.get("known"))
    for said in stage.decide(occasion, known.get("known")):
        body = said.body if isinstance(said, On) else said
        if not isinstance(said, On) or said.exception_id == story.state.exception_id:
            story.record(body, f"agent:{stage.name}", under)
        yield body
