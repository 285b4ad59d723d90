"""Which event types are there, on which topic does each travel, and how are its bytes read?

A changed event gets a new version and an upcaster from the old bytes' dictionary; stored events never change. A process that
is older than the event, in the middle of an upgrade, leaves it to newer ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from sentinai.errors import Unavailable
from sentinai.events import closing, config, control, feedback, intake, playbook, policy, retention, sla, tool, triage
from sentinai.models.json import Json

Upcaster = Callable[[dict[str, Json]], dict[str, Json]]


@dataclass(frozen=True, slots=True)
class EventType:
    """`upcasters` maps an old version to the function that lifts its payload to the next version."""

    name: str
    type: type[msgspec.Struct]
    topic: str
    version: int
    upcasters: dict[int, Upcaster]


def _on(topic: str, *types: type[msgspec.Struct]) -> list[EventType]:
    return [EventType(t.__name__, t, topic, 1, {}) for t in types]


CATALOG: tuple[EventType, ...] = (
    *_on("exceptions.ingested", intake.ExceptionIngested),
    *_on(
        "exceptions.normalized",
        intake.ExceptionNormalized,
        intake.ExceptionRecurred,
        intake.ExceptionMerged,
        intake.ExceptionSplitOff,
    ),
    *_on("triage.completed", triage.TriageCompleted),
    *_on(
        "policy.evaluated",
        policy.PolicyEvaluated,
        policy.PlaybookMatched,
        policy.ApprovalRequested,
        policy.ApprovalVoted,
        policy.ApprovalGranted,
        policy.ApprovalRejected,
        policy.ApprovalExpired,
        policy.ApprovalWithdrawn,
    ),
    *_on(
        "playbook.commands",
        playbook.PlaybookRecalculationRequested,
        playbook.PlaybookStepCompletionRequested,
        playbook.PlaybookStepSkipRequested,
    ),
    *_on(
        "playbook.progress",
        playbook.PlaybookStarted,
        playbook.PlaybookStepStarted,
        playbook.PlaybookStepCompleted,
        playbook.PlaybookStepSkipped,
        playbook.PlaybookStepFailed,
        playbook.PlaybookCompleted,
        playbook.PlaybookFailed,
        playbook.PlaybookCancelled,
        playbook.OwnerAssigned,
        playbook.StatusChanged,
        playbook.CommentAdded,
    ),
    *_on("tool.requested", tool.ToolExecutionRequested),
    *_on(
        "tool.completed",
        tool.ToolExecutionStarted,
        tool.ToolExecutionRetryScheduled,
        tool.ToolExecutionCalledOff,
        tool.ToolExecutionCompleted,
        tool.ToolExecutionFailed,
    ),
    *_on("exceptions.closed", closing.ExceptionResolved, closing.ExceptionEscalated, closing.ExceptionReopened),
    *_on("feedback.captured", feedback.FeedbackCaptured),
    *_on("sla.imminent", sla.SLAImminent),
    *_on("sla.expired", sla.SLAExpired),
    *_on("control.dead-letter", control.DeadLettered, control.DeadLetterRetried, control.DeadLetterDiscarded),
    *_on("control.retention", retention.ExceptionsRemoved),
    *_on(
        "config",
        config.TenantCreated,
        config.TenantSuspended,
        config.TenantResumed,
        config.PackImported,
        config.PackActivated,
        config.ToolRegistered,
        config.ToolUpdated,
        config.ToolEnabled,
        config.ToolDisabled,
        config.ApiKeyCreated,
        config.ApiKeyRevoked,
    ),
)

BY_NAME: dict[str, EventType] = {entry.name: entry for entry in CATALOG}
BY_TYPE: dict[type[msgspec.Struct], EventType] = {entry.type: entry for entry in CATALOG}
TOPICS: tuple[str, ...] = tuple(dict.fromkeys(entry.topic for entry in CATALOG))

_DECODERS = {entry.name: msgspec.json.Decoder(entry.type) for entry in CATALOG}


def decode(name: str, schema_version: int, payload: bytes) -> msgspec.Struct:
    """The typed payload of a stored event, lifted to today's version.

    Raises msgspec.ValidationError for bytes that are not of that type, Unavailable for a type or version that is newer than
    this process.
    """
    entry = BY_NAME.get(name)
    if entry is None or schema_version > entry.version:
        raise Unavailable(
            f"{name} version {schema_version} is newer than this process: it waits, newer processes go on. Replace it by them."
        )
    if schema_version == entry.version:
        return _DECODERS[name].decode(payload)
    body = msgspec.json.decode(payload)
    for version in range(schema_version, entry.version):
        body = entry.upcasters[version](body)
    return msgspec.convert(body, entry.type)
