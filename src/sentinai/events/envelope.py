"""What does an event look like in the log, and what exactly is hashed?"""

import hashlib
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID
from zlib import crc32

import msgspec

Body: TypeAlias = msgspec.Struct
"""The typed payload of an event: one of the types in `events/catalog.py`."""

PARTITIONS = 32
"""Fixed for ever: a stream's partition is part of every stored event."""

_encode = msgspec.json.Encoder().encode


class Event(msgspec.Struct, gc=False):
    """One recorded fact. `body` is the typed payload; `payload` are the bytes that were hashed and stored."""

    tenant_id: str
    stream: str
    """`exception/<id>` or `tenant/<kind>/<id>`."""
    sequence: int
    """From 1 without gaps within the stream."""
    event_id: UUID
    """UUIDv7."""
    type: str
    schema_version: int
    topic: str
    partition: int
    occurred_at: datetime
    actor: str
    """`user:…`, `agent:…`, `tool:…` or `system:…`."""
    correlation_id: UUID | None
    """The exception; None for configuration."""
    causation_id: UUID | None
    """The event or command that caused it."""
    config_hash: str | None
    """The effective configuration it was decided under."""
    payload: bytes
    hash: bytes
    """SHA-256 over the previous hash of the stream and the canonical bytes of this event."""
    handled: bool
    """True: every consumer inside handled it in the transaction that wrote it, or there is none; cursors pass over it."""
    body: Any


def partition_of(tenant_id: str, stream: str) -> int:
    """The log partition of a stream: CRC-32 of `tenant/stream`, modulo PARTITIONS."""
    return crc32(f"{tenant_id}/{stream}".encode()) % PARTITIONS


def chain_hash(previous: bytes, event: Event) -> bytes:
    """SHA-256(previous ‖ header as a JSON array ‖ payload bytes); `handled` and the place in the log are not part of it."""
    header = _encode(
        (
            event.event_id,
            event.tenant_id,
            event.type,
            event.schema_version,
            event.stream,
            event.sequence,
            event.occurred_at,
            event.actor,
            event.correlation_id,
            event.causation_id,
            event.config_hash,
        )
    )
    return hashlib.sha256(previous + header + event.payload).digest()
