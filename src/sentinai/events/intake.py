"""What can happen to an exception while it is taken in?"""

from datetime import datetime
from uuid import UUID

import msgspec

from sentinai.models.decision import Decision
from sentinai.models.json import Json


class ExceptionIngested(msgspec.Struct, frozen=True, omit_defaults=True):
    """A source reported an exception; `payload` is masked already."""

    source_system: str
    payload: Json
    exception_type: str | None = None
    domain: str | None = None
    external_id: str | None = None
    occurred_at: datetime | None = None


class ExceptionSplitOff(msgspec.Struct, frozen=True, omit_defaults=True):
    """A further item of a delivery became an exception of its own; first event of that exception's stream."""

    source_system: str
    payload: Json
    split_from: UUID
    index: int
    """Place of the item in the delivery, from 1 (item 0 keeps the accepted id)."""
    exception_type: str | None = None
    external_id: str | None = None
    reported_by: str | None = None
    """The subject whose report the delivery was."""


class ExceptionNormalized(msgspec.Struct, frozen=True, omit_defaults=True):
    """Domain and source are known and the payload is mapped to the domain's vocabulary."""

    decision: Decision
    domain: str | None = None
    source: str | None = None
    normalized_context: dict[str, Json] = {}
    item: Json = msgspec.UNSET
    """The item of the delivery that this exception is about, where the source splits deliveries."""
    dedup_key: str | None = None
    title: str | None = None
    occurred_at: datetime | None = None


class ExceptionRecurred(msgspec.Struct, frozen=True, omit_defaults=True):
    """The same thing was reported again; recorded on the exception that was there first."""

    occurrences: int
    reported_as: UUID
    """The accepted id of the repeated report."""
    source_system: str
    reported_by: str | None = None
    """The subject whose report that was."""


class ExceptionMerged(msgspec.Struct, frozen=True):
    """This report repeats an open exception; recorded on the repeated report."""

    merged_into: UUID
    decision: Decision
