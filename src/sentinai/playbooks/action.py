"""What is an action: what does it need, and what does it plan to happen?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Generic, TypeAlias, TypeVar
from uuid import UUID

import msgspec

from sentinai.models.exception_record import ExceptionState
from sentinai.models.json import Json
from sentinai.packs.effective import EffectiveConfig, Step
from sentinai.packs.parameters import read_parameters

TEXT_CHARS_MAX = 10_000

TextParameter: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_CHARS_MAX)]


class Parameters(msgspec.Struct, frozen=True, rename="camel"):
    """What a step says in its `params`, under the names of its fields in camelCase; constraints hold at run time too."""


P = TypeVar("P", bound=Parameters)


@dataclass(frozen=True, slots=True)
class ActionContext:
    """`new_id` gives an id derived from the exception and the step: the same each time."""

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
    output: Json = None


@dataclass(frozen=True, slots=True)
class Action(Generic[P]):
    """`plan` raises Rejected when it cannot be done: the step fails, its `onFailure` decides."""

    name: str
    params: type[P]
    plan: Callable[[ActionContext, P], Plan]
    asks_people: bool = False
    """The action itself waits for a person's yes."""

    def run(self, context: ActionContext, rendered: Mapping[str, Json]) -> Plan:
        """Plan the step. Raises Rejected, naming the parameter, for params that do not fit their type."""
        return self.plan(context, read_parameters(self.params, rendered))
