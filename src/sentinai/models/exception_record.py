"""What is known about one exception? `ExceptionState` is the fold of its event stream.

The `exception` table stores this value as JSON beside the columns that queries filter by; both are written in the
same transaction as the events.
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from sentinai.models.approval import Approval
from sentinai.models.json import Json
from sentinai.models.run import PlaybookRun
from sentinai.models.tool import Call


class Status(StrEnum):
    """The lifecycle; `orchestrator/lifecycle.py` says which changes are legal."""

    OPEN = "OPEN"
    IN_PROGRESS = "IN_PROGRESS"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    ESCALATED = "ESCALATED"
    RESOLVED = "RESOLVED"
    MERGED = "MERGED"


UNCLASSIFIED = "UNCLASSIFIED"
CLOSED = frozenset({Status.RESOLVED, Status.MERGED})


class SlaTimes(msgspec.Struct, omit_defaults=True):
    """When the exception has to be resolved; a time that has passed or no longer matters is None."""

    resolve_by: datetime
    warn_at: datetime | None = None
    expires_at: datetime | None = None


FOLD = 2
"""Version of the fold. A stored state of another one is folded anew from its events before anybody looks at it."""


class ExceptionState(msgspec.Struct, omit_defaults=True):
    """Everything the stages need to know of an exception."""

    fold: int
    """FOLD of the code that made it; first and always written, so that a stored state tells it by its first bytes."""
    tenant_id: str
    exception_id: UUID
    status: Status = Status.OPEN
    sequence: int = 0
    """Sequence of the last event folded in; the stream has no gaps."""
    hash: bytes = b""
    """Chain hash of that event."""
    source_system: str = ""
    external_id: str | None = None
    declared_type: str | None = None
    declared_domain: str | None = None
    raw_payload: Json = None
    domain: str | None = None
    source: str | None = None
    """Name of the pack's source that normalised it."""
    normalized_context: dict[str, Json] = {}
    dedup_key: str | None = None
    occurrences: int = 1
    last_seen_at: datetime | None = None
    merged_into: UUID | None = None
    split_from: UUID | None = None
    exception_type: str | None = None
    severity: str | None = None
    confidence: float = 0.0
    priority_score: int | None = None
    title: str | None = None
    tags: list[str] = []
    policy_tags: list[str] = []
    config_hash: str | None = None
    """The configuration it was triaged under; kept until a person asks to recalculate."""
    policy_outcome: str | None = None
    learnt_at: int = 0
    """Sequence of the last event that changed what policy decides on."""
    judged_at: int = 0
    """Sequence of the last evaluation of policy; a run goes on only under one that saw everything learnt."""
    owner: str | None = None
    owner_kept: bool = False
    """A person chose the owner: no playbook changes it until a person has the exception decided anew."""
    queue: str | None = None
    run: PlaybookRun | None = None
    calls: dict[str, Call] = {}
    """Every call of a tool by a step, by execution id, in the order in which they were asked for."""
    involved: list[str] = []
    """Subjects who reported it, had it decided anew, or did a step of it by hand; they may not answer its approvals."""
    voters: list[str] = []
    """Subjects who said yes to a run of it, or to one of its steps; they do none of its steps by hand."""
    taken_over: bool = False
    """A person escalated it or said no: no playbook begins until a person has it decided anew."""
    sla: SlaTimes | None = None
    blocked: int = 0
    """How many of its events are dead letters."""
    human_touched: bool = False
    """A person decided or did something, so the resolution is not an automatic one."""
    reason: str | None = None
    """Why it has its present status."""
    occurred_at: datetime | None = None
    received_at: datetime | None = None
    updated_at: datetime | None = None
    triaged_at: datetime | None = None
    resolved_at: datetime | None = None

    @property
    def due_at(self) -> datetime | None:
        """The earliest time at which the SLA worker has to look at it."""
        times = [t for t in (self.sla and self.sla.warn_at, self.sla and self.sla.expires_at) if t]
        times += [approval.expires_at for approval in self.approvals if approval.expires_at]
        return min(times, default=None)

    @property
    def approvals(self) -> list[Approval]:
        """Open questions to people; none once the run has ended."""
        return self.run.approvals if self.run is not None and self.run.active else []

    @property
    def stream(self) -> str:
        return stream_of(self.exception_id)


def stream_of(exception_id: UUID) -> str:
    """Name of the event stream of an exception."""
    return f"exception/{exception_id}"
