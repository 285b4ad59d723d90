"""What is a stage asked, and what may it decide?"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, NamedTuple, TypeAlias, TypeVar
from uuid import UUID

import msgspec

from sentinai.events.envelope import Body, Event
from sentinai.models.exception_record import ExceptionState
from sentinai.packs.effective import EffectiveConfig, TenantConfiguration

K = TypeVar("K")


class Situation(msgspec.Struct, frozen=True, gc=False):
    """An exception and the world as they are at one moment."""

    state: ExceptionState
    tenant: TenantConfiguration
    config: EffectiveConfig | None
    """The configuration the exception is under; None for one that is under none."""
    now: datetime


class Occasion(Situation, frozen=True, gc=False):
    """An event, and the situation in which a stage looks at it: the state may be ahead of the event, never behind it."""

    event: Event

    @property
    def body(self) -> Body:
        body: Body = self.event.body
        return body


class On(NamedTuple):
    """An event for another exception's stream, which is there already or begins with it."""

    exception_id: UUID
    body: Body


Decided: TypeAlias = "list[Body | On]"
"""Everything that follows, in order; bodies are for the stream of the occasion's own exception."""


def own_config(occasion: Occasion, _known: object) -> EffectiveConfig | None:
    """Stages decide under the configuration that the exception is under, unless they say otherwise."""
    return occasion.config


@dataclass(slots=True, frozen=True)
class Stage(Generic[K]):
    """A stage of the pipeline. `decide` raises a SentinaiError to have the event parked; nothing is recorded then."""

    name: str
    decide: Callable[[Occasion, K], Decided]
    consumes: tuple[str, ...]
    """The types of event that it is asked about; no other stage has them. Its worker is its consumer, by the same name."""
    config: Callable[[Occasion, K], EffectiveConfig | None] = own_config
    """Under which configuration does it decide? Its events name that one."""
