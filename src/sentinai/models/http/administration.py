"""Requests and responses about tenants, keys, packs, tools, approvals and dead letters."""

from datetime import datetime
from uuid import UUID

from pydantic import ConfigDict, Field

from sentinai.models.http.base import IDENTIFIER, Instant, Request, Response
from sentinai.models.json import Json

TENANT_ID = r"^[a-z0-9][a-z0-9-]{0,62}$"


class TenantRequest(Request):
    model_config = ConfigDict(json_schema_extra={"examples": [{"tenant_id": "acme", "name": "Acme Ltd."}]})

    tenant_id: str = Field(pattern=TENANT_ID)
    name: str = Field(min_length=1, max_length=200)


class TenantView(Response):
    tenant_id: str
    name: str
    suspended: bool
    created_at: datetime


class AcceptedTenant(Response):
    tenant_id: str
    status: str = "accepted"


class KeyRequest(Request):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "webhook of the shop", "role": "operator", "expires_at": "2030-01-31T12:00:00Z"}]
        }
    )

    name: str = Field(min_length=1, max_length=200)
    role: str = Field(description="viewer, operator, approver, admin, or platform_admin")
    expires_at: Instant | None = None
    subject: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="The person or service that holds the key; a second key of the same person names the same subject. "
        "Rules about people compare subjects. Without it the key's name is the subject.",
    )
    tenant_id: str | None = Field(None, pattern=TENANT_ID, description="Only a platform_admin may name one.")


class CreatedKey(Response):
    key_id: UUID
    key: str = Field(description="The secret. It is shown this once and cannot be read again.")
    status: str = "accepted"


class KeyView(Response):
    key_id: UUID
    name: str
    role: str
    subject: str
    hint: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class Me(Response):
    tenant_id: str
    key_id: UUID
    name: str
    role: str
    subject: str
    expires_at: datetime | None


class PackView(Response):
    kind: str
    domain: str
    version: str
    content_hash: str
    imported_at: datetime
    imported_by: str


class AcceptedPack(Response):
    kind: str
    domain: str
    version: str
    content_hash: str
    status: str = "accepted"


class ActivateRequest(Request):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"domain": "card-payments", "domain_version": "1.0.0", "policy_version": "1.0.0"}]
        }
    )

    domain: str = Field(pattern=IDENTIFIER)
    domain_version: str = Field(pattern=IDENTIFIER)
    policy_version: str = Field(pattern=IDENTIFIER)


class AcceptedActivation(Response):
    domain: str
    config_hash: str
    status: str = "accepted"


class ActiveConfiguration(Response):
    domain: str
    config_hash: str
    domain_version: str
    policy_version: str
    active: bool
    activated_at: datetime
    activated_by: str


class PackProblems(Response):
    valid: bool
    errors: list[dict[str, Json]]


class PlaybookListItem(Response):
    domain: str
    name: str
    version: int
    owner: str
    description: str
    priority: int
    exception_types: list[str]
    severities: list[str]
    steps: list[dict[str, Json]]


class ToolRequest(Request):
    """A tool outside any pack, declared as in a Domain Pack."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "ping",
                    "definition": {
                        "provider": "http",
                        "inputSchema": {"type": "object"},
                        "endpoint": {"method": "GET", "url": "https://psp.example/health"},
                    },
                }
            ]
        }
    )

    name: str = Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_-]{0,99}$")
    definition: dict[str, Json] = Field(description="As under `tools.<name>` of a Domain Pack.")


class ToolUpdateRequest(Request):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "definition": {
                        "provider": "http",
                        "inputSchema": {"type": "object"},
                        "endpoint": {"method": "GET", "url": "https://psp.example/health"},
                    }
                }
            ]
        }
    )

    definition: dict[str, Json]


class EnablementRequest(Request):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"enabled": False, "reason": "The provider has an outage."}]}
    )

    enabled: bool
    reason: str | None = Field(None, min_length=1, max_length=2_000)


class ToolView(Response):
    tool_id: str
    name: str
    domain: str | None
    enabled: bool
    disabled_reason: str | None
    definition: Json
    updated_at: datetime


class AcceptedTool(Response):
    tool_id: str
    status: str = "accepted"


class ExecuteRequest(Request):
    model_config = ConfigDict(json_schema_extra={"examples": [{"input": {"paymentId": "pay_1001"}}]})

    input: dict[str, Json]


class AcceptedExecution(Response):
    execution_id: UUID
    status: str = "accepted"


class ExecutionView(Response):
    execution_id: UUID
    exception_id: UUID | None
    step: str | None
    tool: str
    status: str
    attempts: int
    input: Json
    output: Json
    error: str | None
    requested_by: str
    requested_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    waits_for: str | None = Field(
        description="Why no attempt is made now: APPROVAL, CIRCUIT_OPEN, TOOL_BUSY, TENANT_BUSY or RETRY."
    )
    due_at: datetime | None = Field(description="Until when it waits; for a running call, when its lease ends.")
    idempotency_key: UUID | None = Field(description="Null: the execution id.")
    answer: Json = Field(description="Status, media type and beginning of an answer that could not be used.")


class ApprovalView(Response):
    approval_id: UUID
    exception_id: UUID
    status: str
    reason: str
    step: str | None
    requested_by: str
    requested_at: datetime
    expires_at: datetime | None
    decided_by: str | None
    decided_at: datetime | None
    comment: str | None
    approvers: int = Field(description="How many different people have to say yes.")
    votes: list[str] = Field(description="Who said yes so far, where more than one has to.")


class AnswerRequest(Request):
    model_config = ConfigDict(json_schema_extra={"examples": [{"comment": "Checked with the merchant."}]})

    comment: str | None = Field(None, min_length=1, max_length=2_000)


class AcceptedAnswer(Response):
    approval_id: UUID
    event_id: UUID
    status: str = "accepted"


class DeadLetterView(Response):
    dead_letter_id: UUID
    consumer: str
    exception_id: UUID
    sequence: int
    type: str
    attempts: int
    error: str | None
    message: str | None
    parked_at: datetime


class AcceptedDeadLetter(Response):
    dead_letter_id: UUID
    status: str = "accepted"


class DiscardRequest(Request):
    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "A test report."}]})

    reason: str = Field(min_length=1, max_length=2_000)


class RetryFilter(Request):
    """Which dead letters to retry; at least one criterion, or `all: true`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"consumer": "triage", "error": "Rejected", "dry_run": True}]}
    )

    consumer: str | None = None
    error: str | None = None
    type: str | None = None
    all: bool = False
    dry_run: bool = Field(True, description="Only say which ones it would be.")


class RetriedDeadLetters(Response):
    dead_letter_ids: list[UUID]
    dry_run: bool
    status: str = "accepted"


class SuspendRequest(Request):
    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "The contract ended."}]})

    reason: str = Field(min_length=1, max_length=2_000)
