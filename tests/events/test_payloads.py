"""Does every event survive being written and read, and is what the version before has written still understood?"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from msgspec import inspect

from sentinai.events.catalog import BY_NAME, CATALOG, TOPICS, EventType, decode
from sentinai.events.retention import ExceptionsRemoved

ID = "00000000-0000-0000-0000-000000000009"
WHEN = "2026-01-31T12:00:00Z"
JSON = {"k": [1]}
EVIDENCE = [{"rule": "x", "outcome": "not_matched", "detail": "x"}]
DECISION = {"stage": "x", "decision": "x", "confidence": 0.5, "evidence": EVIDENCE, "next_step": "x"}

STORED: Mapping[str, Mapping[str, Any]] = {
    "ExceptionIngested": {"source_system": "x", "payload": JSON, "exception_type": "x", "domain": "x", "external_id": "x", "occurred_at": WHEN},
    "ExceptionNormalized": {"decision": DECISION, "domain": "x", "source": "x", "normalized_context": {"k": JSON}, "item": JSON, "dedup_key": "x", "title": "x", "occurred_at": WHEN},
    "ExceptionRecurred": {"occurrences": 7, "reported_as": ID, "source_system": "x"},
    "ExceptionMerged": {"merged_into": ID, "decision": DECISION},
    "ExceptionSplitOff": {"source_system": "x", "payload": JSON, "split_from": ID, "index": 7, "exception_type": "x", "external_id": "x"},
    "TriageCompleted": {"decision": DECISION, "exception_type": "x", "severity": "x", "confidence": 0.5, "priority_score": 7, "title": "x", "tags": ["x"], "queue": "x", "resolve_by": WHEN, "warn_at": WHEN},
    "PolicyEvaluated": {"decision": DECISION, "outcome": "x", "reasons": ["x"], "policy_tags": ["x"]},
    "PlaybookMatched": {"playbook": "x", "version": 7},
    "ApprovalRequested": {"approval_id": ID, "reason": "x", "step": "x", "expires_at": WHEN, "on_expiry": "REJECT"},
    "ApprovalGranted": {"approval_id": ID, "step": "x", "comment": "x"},
    "ApprovalRejected": {"approval_id": ID, "step": "x", "comment": "x"},
    "ApprovalExpired": {"approval_id": ID, "on_expiry": "REJECT", "step": "x"},
    "ApprovalWithdrawn": {"approval_id": ID, "reason": "x"},
    "PlaybookRecalculationRequested": {"reason": "x"},
    "PlaybookStepCompletionRequested": {"order": 7, "output": JSON, "comment": "x"},
    "PlaybookStepSkipRequested": {"order": 7, "reason": "x"},
    "PlaybookStarted": {"playbook": "x", "version": 7, "steps": ["x"], "decision": DECISION},
    "PlaybookStepStarted": {"step": "x", "order": 7, "action": "x", "mode": "x", "evidence": EVIDENCE},
    "PlaybookStepCompleted": {"step": "x", "order": 7, "action": "x", "output": JSON, "evidence": EVIDENCE},
    "PlaybookStepSkipped": {"step": "x", "order": 7, "reason": "x", "evidence": EVIDENCE},
    "PlaybookStepFailed": {"step": "x", "order": 7, "error": "x", "on_failure": "x", "evidence": EVIDENCE},
    "PlaybookCompleted": {"playbook": "x", "decision": DECISION},
    "PlaybookFailed": {"playbook": "x", "reason": "x", "decision": DECISION},
    "OwnerAssigned": {"owner": "x"},
    "StatusChanged": {"status": "x", "reason": "x"},
    "CommentAdded": {"text": "x"},
    "ToolExecutionRequested": {"execution_id": ID, "tool": "x", "input": JSON, "step": "x", "channel": True},
    "ToolExecutionStarted": {"execution_id": ID, "tool": "x", "attempt": 7},
    "ToolExecutionCompleted": {"execution_id": ID, "tool": "x", "output": JSON, "attempts": 7, "step": "x", "duration_ms": 0.5},
    "ToolExecutionFailed": {"execution_id": ID, "tool": "x", "status": "x", "error": "x", "attempts": 7, "step": "x"},
    "ExceptionResolved": {"reason": "x"},
    "ExceptionEscalated": {"reasons": ["x"], "queue": "x"},
    "ExceptionReopened": {"reason": "x"},
    "FeedbackCaptured": {"decision": DECISION, "outcome": "x", "automated": True, "occurrences": 7, "playbook": "x", "to_triage_ms": 0.5, "to_close_ms": 0.5, "step_ms": {"k": 0.5}},
    "SLAImminent": {"resolve_by": WHEN},
    "SLAExpired": {"resolve_by": WHEN},
    "DeadLettered": {"consumer": "x", "sequence": 7, "error": "x", "message": "x", "attempts": 7},
    "DeadLetterRetried": {"consumer": "x", "sequence": 7},
    "DeadLetterDiscarded": {"consumer": "x", "sequence": 7, "reason": "x"},
    "ExceptionsRemoved": {"tenant_id": "x", "domain": "x", "unchanged_since": WHEN, "removed": [{"exception_id": ID, "events": 7, "hash": "x"}], "key_id": "x", "signature": "x"},
    "TenantCreated": {"name": "x"},
    "TenantSuspended": {"reason": "x"},
    "TenantResumed": {"reason": "x"},
    "PackImported": {"kind": "x", "name": "x", "version": "x", "content_hash": "x"},
    "PackActivated": {"domain": "x", "domain_version": "x", "policy_version": "x", "config_hash": "x"},
    "ToolRegistered": {"tool": "x", "definition": JSON},
    "ToolUpdated": {"tool": "x", "definition": JSON},
    "ToolEnabled": {"tool": "x"},
    "ToolDisabled": {"tool": "x", "reason": "x"},
    "ApiKeyCreated": {"key_id": ID, "name": "x", "role": "x", "expires_at": WHEN},
    "ApiKeyRevoked": {"key_id": ID},
}  # fmt: skip
"""Every event of the version before with all its fields, as it stands in the log."""

ADDED: Mapping[str, Mapping[str, Any]] = {
    "ExceptionSplitOff": {"reported_by": None},
    "ExceptionRecurred": {"reported_by": None},
    "ApprovalRequested": {"approvers": 1, "plan": "", "reasons": []},
    "PlaybookStepCompletionRequested": {"step": None},
    "PlaybookStepSkipRequested": {"step": None},
    "PlaybookStepStarted": {"waits_for": None, "execution_id": None},
    "PlaybookStepCompleted": {"execution_id": None},
    "ToolExecutionRequested": {"key": None},
    "ToolExecutionFailed": {"status_code": None, "media_type": None, "beginning": None},
    "ApiKeyCreated": {"subject": None},
}
"""Fields that were added since, and how an event that does not have them is read."""

NEW = {"ApprovalVoted", "PlaybookCancelled", "ToolExecutionRetryScheduled", "ToolExecutionCalledOff"}
"""Events that the version before did not know."""

SAMPLES: dict[type, Any] = {
    inspect.StrType: "text",
    inspect.IntType: 7,
    inspect.FloatType: 0.5,
    inspect.BoolType: True,
    inspect.UUIDType: UUID(int=9),
    inspect.DateTimeType: datetime(2026, 1, 31, 12, 0, 0, 123456, UTC),
    inspect.AnyType: {"deep": [{"ü": None}, -1.5, 2**53, ""]},
}


def sample(kind: inspect.Type, required_only: bool = False) -> Any:
    """A value of a type that is none of its defaults; of a struct, perhaps without what may be left out."""
    match kind:
        case inspect.LiteralType():
            return kind.values[-1]
        case inspect.EnumType():
            return next(iter(kind.cls))
        case inspect.ListType():
            return [sample(kind.item_type), sample(kind.item_type)]
        case inspect.DictType():
            return {"k": sample(kind.value_type)}
        case inspect.UnionType():
            return sample(next(t for t in kind.types if not isinstance(t, inspect.NoneType)))
        case inspect.StructType():
            fields = [f for f in kind.fields if f.required or not required_only]
            return kind.cls(**{f.name: sample(f.type) for f in fields})
    return SAMPLES[type(kind)]


def required(entry: EventType) -> set[str]:
    return {f.name for f in msgspec.structs.fields(entry.type) if f.required}


def written(body: msgspec.Struct) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(body))
    return found


def read(name: str, fields: Mapping[str, Any]) -> Any:
    return decode(name, BY_NAME[name].version, msgspec.json.encode(fields))


def _name(entry: EventType) -> str:
    return entry.name


every_event = pytest.mark.parametrize("entry", CATALOG, ids=_name)
every_stored = pytest.mark.parametrize("name", STORED)


@every_event
def test_an_event_with_every_field_is_read_as_it_was_written(entry: EventType) -> None:
    body = sample(inspect.type_info(entry.type))
    assert set(written(body)) == set(entry.type.__struct_fields__), "the sample has no default, so all is written"
    assert decode(entry.name, entry.version, msgspec.json.encode(body)) == body


@every_event
def test_an_event_writes_no_field_that_has_its_default(entry: EventType) -> None:
    body = sample(inspect.type_info(entry.type), required_only=True)
    always = {"signature"} if entry.type is ExceptionsRemoved else set()  # what is signed holds it empty
    assert set(written(body)) == required(entry) | always
    assert decode(entry.name, entry.version, msgspec.json.encode(body)) == body


@every_event
def test_each_optional_field_survives_alone(entry: EventType) -> None:
    kind = inspect.type_info(entry.type)
    assert isinstance(kind, inspect.StructType)
    bare = sample(kind, required_only=True)
    for field in (f for f in kind.fields if not f.required):
        body = msgspec.structs.replace(bare, **{field.name: sample(field.type)})
        again = decode(entry.name, entry.version, msgspec.json.encode(body))
        assert again == body != bare, field.name


@every_event
def test_an_event_cannot_be_changed(entry: EventType) -> None:
    body = sample(inspect.type_info(entry.type))
    with pytest.raises(AttributeError):
        setattr(body, entry.type.__struct_fields__[0], None)


@every_event
def test_an_event_without_a_required_field_is_not_read(entry: EventType) -> None:
    whole = written(sample(inspect.type_info(entry.type)))
    for name in required(entry):
        with pytest.raises(msgspec.ValidationError, match=name):
            read(entry.name, {k: v for k, v in whole.items() if k != name})


@every_event
def test_a_field_that_only_a_newer_process_knows_is_passed_over(entry: EventType) -> None:
    body = sample(inspect.type_info(entry.type))
    assert read(entry.name, {**written(body), "invented_tomorrow": 1}) == body


@every_stored
def test_what_the_version_before_wrote_is_written_as_it_was(name: str) -> None:
    fields = STORED[name]
    assert written(read(name, fields)) == fields


@every_stored
def test_what_the_version_before_left_out_may_be_left_out(name: str) -> None:
    fields = STORED[name]
    kept = {k: v for k, v in fields.items() if k in required(BY_NAME[name])}
    body = read(name, kept)
    for field in msgspec.structs.fields(type(body)):
        if field.name not in kept:
            default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
            assert getattr(body, field.name) == default, field.name


@pytest.mark.parametrize("name", ADDED)
def test_what_was_added_since_is_read_as_not_said(name: str) -> None:
    body = read(name, STORED[name])
    assert {field: getattr(body, field) for field in ADDED[name]} == ADDED[name]


def test_the_tables_above_are_complete() -> None:
    today = {e.name: set(e.type.__struct_fields__) for e in CATALOG}
    assert set(today) - set(STORED) == NEW
    added = {name: today[name] - set(fields) for name, fields in STORED.items() if today[name] != set(fields)}
    assert added == {name: set(fields) for name, fields in ADDED.items()}


def test_a_playbook_that_failed_by_a_person_in_the_version_before_has_no_decision() -> None:
    assert read("PlaybookFailed", {"playbook": "refund", "reason": "escalated by a person"}).decision is None


def test_an_item_that_is_null_is_not_the_same_as_no_item() -> None:
    said = read("ExceptionNormalized", {"decision": DECISION, "item": None})
    silent = read("ExceptionNormalized", {"decision": DECISION})
    assert (said.item, silent.item) == (None, msgspec.UNSET)
    assert written(said) == {"decision": DECISION, "item": None}
    assert written(silent) == {"decision": DECISION}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ApprovalRequested", {"on_expiry": "GRANT"}),
        ("ApprovalExpired", {"on_expiry": ""}),
        ("ApprovalRequested", {"approvers": "two"}),
        ("PlaybookStepStarted", {"waits_for": "LUCK"}),
        ("PlaybookStepStarted", {"order": 1.5}),
        ("ToolExecutionRequested", {"execution_id": "not an id"}),
        ("TriageCompleted", {"resolve_by": "tomorrow"}),
        ("ExceptionEscalated", {"reasons": "one"}),
    ],
)
def test_a_value_that_means_nothing_is_not_read(name: str, change: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(name, {**STORED[name], **change})


def test_a_name_stands_for_one_type_on_one_topic() -> None:
    assert len({e.name for e in CATALOG}) == len({e.type for e in CATALOG}) == len(CATALOG)
    assert all(e.name == e.type.__name__ and e.topic in TOPICS for e in CATALOG)
