"""What does an event look like on Kafka? The CloudEvents 1.0 Kafka binding, binary mode.

Attributes are `ce_` headers, the value is the payload as it was hashed. Beside the standard attributes: the event's other
fields, and its place in the log, from which a consumer can tell duplicates and gaps.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from sentinai.events.catalog import decode
from sentinai.events.envelope import Event
from sentinai.messaging.broker import Place

Header = tuple[str, str | bytes | None]
CONTENT_TYPE = b"application/json"
NOWHERE = Place(0, 0)
"""Before the first event of a topic's partition."""


class Carried(NamedTuple):
    """What a consumer has to know of a message before it reads the event."""

    type: str
    partition: int
    place: Place
    previous: Place
    """Of the event before it on the same topic and log partition; messages between the two were lost if any is missing."""
    handled: bool
    complete: bool
    """False: the payload was too large to be carried; the log has it."""


def key_of(row: asyncpg.Record) -> bytes:
    """Tenant and exception (or stream), so that other systems can partition as we do."""
    return f"{row['tenant_id']}:{row['correlation_id'] or row['stream']}".encode()


def headers_of(row: asyncpg.Record, previous: Place, *, complete: bool = True) -> list[Header]:
    """The headers of an event as it is in the log; `row` has the columns of `event`."""
    headers: list[Header] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", str(row["event_id"]).encode()),
        ("ce_source", b"sentinai"),
        ("ce_type", row["type"].encode()),
        ("ce_subject", row["stream"].encode()),
        ("ce_time", row["occurred_at"].isoformat().encode()),
        ("content-type", CONTENT_TYPE),
        ("ce_tenantid", row["tenant_id"].encode()),
        ("ce_sequence", b"%d" % row["sequence"]),
        ("ce_schemaversion", b"%d" % row["schema_version"]),
        ("ce_actor", row["actor"].encode()),
        ("ce_hash", row["hash"].hex().encode()),
        ("ce_logpartition", b"%d" % row["partition"]),
        ("ce_logposition", _encode(Place(row["xid"], row["position"]))),
        ("ce_logprevious", _encode(previous)),
    ]
    for name in ("correlation_id", "causation_id", "config_hash"):
        if row[name] is not None:
            headers.append((f"ce_{name.replace('_', '')}", str(row[name]).encode()))
    if row["handled"]:
        headers.append(("ce_loghandled", b"true"))
    if not complete:
        headers.append(("ce_dataomitted", b"true"))
    return headers


def carried(headers: Mapping[str, bytes]) -> Carried:
    """Raises KeyError or ValueError for a message that is not one of ours."""
    return Carried(
        headers["ce_type"].decode(),
        int(headers["ce_logpartition"]),
        _decode(headers["ce_logposition"]),
        _decode(headers["ce_logprevious"]),
        headers.get("ce_loghandled") == b"true",
        "ce_dataomitted" not in headers,
    )


def event_of(topic: str, headers: Mapping[str, bytes], payload: bytes) -> Event:
    """The event of a message. Raises KeyError, ValueError or msgspec.DecodeError for one that is not ours."""
    name, version = headers["ce_type"].decode(), int(headers["ce_schemaversion"])
    return Event(
        tenant_id=headers["ce_tenantid"].decode(),
        stream=headers["ce_subject"].decode(),
        sequence=int(headers["ce_sequence"]),
        event_id=UUID(headers["ce_id"].decode()),
        type=name,
        schema_version=version,
        topic=topic,
        partition=int(headers["ce_logpartition"]),
        occurred_at=datetime.fromisoformat(headers["ce_time"].decode()),
        actor=headers["ce_actor"].decode(),
        correlation_id=_uuid(headers.get("ce_correlationid")),
        causation_id=_uuid(headers.get("ce_causationid")),
        config_hash=headers["ce_confighash"].decode() if "ce_confighash" in headers else None,
        payload=payload,
        hash=bytes.fromhex(headers["ce_hash"].decode()),
        handled=headers.get("ce_loghandled") == b"true",
        body=decode(name, version, payload),
    )


UNREADABLE = (KeyError, ValueError, msgspec.DecodeError)


def _uuid(value: bytes | None) -> UUID | None:
    return UUID(value.decode()) if value else None


def _encode(place: Place) -> bytes:
    return b"%d:%d" % (place.xid, place.position)


def _decode(value: bytes) -> Place:
    xid, _, position = value.partition(b":")
    return Place(int(xid), int(position))
