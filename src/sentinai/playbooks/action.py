"""What is an action: what does it need, and what does it plan to happen?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from sentinai.models.exception_record import ExceptionState
from sentinai.packs.effective import EffectiveConfig, Step


@dataclass(frozen=True, slots=True)
class ActionContext:
    """`params` are rendered; `new_id` gives an id derived from the exception and the step: the same each time."""

    params: Mapping[str, Any]
    step: Step
    state: ExceptionState
    config: EffectiveConfig
    new_id: Callable[[], UUID]
    now: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """Events to record. An instant step is complete with them; any other waits for an answer."""

    events: list[msgspec.Struct] = field(default_factory=list)
    instant: bool = True
    output: Any = None


@dataclass(frozen=True, slots=True)
class Action:
    """`plan` raises Rejected when the params are not usable: the step fails, its `onFailure` decides."""

    name: str
    plan: Callable[[ActionContext], Plan]
