"""Requests and responses about exceptions."""

from datetime import datetime
from uuid import UUID

from pydantic import ConfigDict, Field

from sentinai.models.http.base import Request, Response
from sentinai.models.json import Json


class ExceptionReport(Request):
    """What a source system reports. Read on a faster path than other bodies; this is its description."""

    source_system: str = Field(
        pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._:-]{0,99}$", description="Name of the reporting system."
    )
    payload: dict[str, Json] | list[Json] = Field(description="The event as the source sent it: object or array.")
    exception_type: str | None = Field(None, max_length=100, description="Type, when the source knows it.")
    domain: str | None = Field(None, max_length=100, description="Domain, when the source knows it.")
    external_id: str | None = Field(
        None, max_length=200, description="The source's own id; without a dedupKey in the pack it is the dedup key."
    )
    occurred_at: datetime | None = Field(None, description="When it happened, with time zone (RFC 3339).")


class AcceptedException(Response):
    exception_id: UUID
    status: str = "accepted"


class AcceptedBatch(Response):
    exception_ids: list[UUID] = Field(description="In the order of the reports.")
    status: str = "accepted"


class AcceptedCommand(Response):
    exception_id: UUID
    event_id: UUID
    status: str = "accepted"


class CommentRequest(Request):
    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "Called the bank; they look into it."}]})

    text: str = Field(min_length=1, max_length=10_000)


class AssignRequest(Request):
    model_config = ConfigDict(json_schema_extra={"examples": [{"owner": "payments-desk"}]})

    owner: str = Field(min_length=1, max_length=200)


class ReasonRequest(Request):
    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "Settled by phone."}]})

    reason: str = Field(min_length=1, max_length=2_000)


class EscalateRequest(ReasonRequest):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"reason": "The customer called twice.", "queue": "payments-l2"}]}
    )

    queue: str | None = Field(None, min_length=1, max_length=100)


class RecalculateRequest(Request):
    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "The new pack knows this code."}]})

    reason: str | None = Field(None, min_length=1, max_length=2_000)


class StepCompletionRequest(Request):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"output": {"reference": "DSP-1001"}, "comment": "Filed in the portal."}]}
    )

    output: Json = None
    comment: str | None = Field(None, min_length=1, max_length=2_000)


class ExceptionSummary(Response):
    exception_id: UUID
    status: str
    severity: str | None
    exception_type: str | None
    domain: str | None
    source_system: str
    external_id: str | None
    title: str | None
    owner: str | None
    queue: str | None
    occurrences: int
    blocked: bool = Field(description="One of its events is a dead letter.")
    occurred_at: datetime
    received_at: datetime
    updated_at: datetime
    resolved_at: datetime | None


class ExceptionDetail(ExceptionSummary):
    confidence: float
    priority_score: int | None
    reason: str | None = Field(description="Why it has its present status.")
    raw_payload: Json
    normalized_context: dict[str, Json]
    tags: list[str]
    policy_tags: list[str]
    dedup_key: str | None
    merged_into: UUID | None
    split_from: UUID | None
    config_hash: str | None
    policy_outcome: str | None
    approval_id: UUID | None = Field(description="The approval that is waited for.")
    resolve_by: datetime | None
    triaged_at: datetime | None
    sequence: int = Field(description="Number of events in its stream.")


class TimelineEvent(Response):
    event_id: UUID
    sequence: int
    type: str
    schema_version: int
    occurred_at: datetime
    actor: str
    correlation_id: UUID | None
    causation_id: UUID | None
    config_hash: str | None
    payload: Json
    hash: str = Field(description="SHA-256 (hex) over the previous event's hash and this event.")


class AuditEvent(TimelineEvent):
    stream: str
    topic: str


class DecisionRecord(Response):
    event_id: UUID
    event_type: str
    decided_at: datetime
    config_hash: str | None
    stage: str
    decision: str
    confidence: float
    evidence: list[dict[str, Json]]
    next_step: str


class StepView(Response):
    order: int
    name: str
    path: str = Field(description="Names the step in commands.")
    action: str
    mode: str
    status: str
    waits_for: str | None = Field(None, description="What a running step waits for: TOOL, APPROVAL or PERSON.")
    output: Json = None
    detail: str | None = None
    done_by: str | None = Field(None, description="The subject who did or skipped it by hand.")
    execution_id: UUID | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class PlaybookView(Response):
    """The run of an exception's playbook, its steps to come included."""

    exception_id: UUID
    playbook: str
    version: int
    status: str
    steps: list[StepView]
    started_at: datetime | None
    ended_at: datetime | None
