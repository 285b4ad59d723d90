"""What is one piece of work for a stage, and what may it answer?"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from sentinai.events.envelope import Event
from sentinai.models.exception_record import ExceptionState
from sentinai.orchestrator.recording import Tracked
from sentinai.packs.effective import EffectiveConfig, TenantConfiguration


class Work(msgspec.Struct):
    """An event to handle, with everything a stage may look at.

    The stage yields event bodies, in order; each is recorded on the exception's stream and folded before the stage goes
    on, so `state` is always up to date. A body for another exception is yielded as `To`.
    """

    event: Event
    tracked: Tracked
    tenant: TenantConfiguration
    config: EffectiveConfig | None
    """The configuration the exception is under; a stage that decides under another one sets it before it yields."""
    now: datetime
    facts: Any = None
    """What the stage's `gather` found out for this work."""

    @property
    def state(self) -> ExceptionState:
        return self.tracked.state

    @property
    def body(self) -> Any:
        return self.event.body


class To(NamedTuple):
    """An event for another exception's stream (locked by `gather`, or new)."""

    tracked: Tracked
    body: msgspec.Struct


Answer = Iterator[msgspec.Struct | To]
