"""What was removed from the log because its time was over?"""

from datetime import datetime
from uuid import UUID

import msgspec


class Removed(msgspec.Struct, frozen=True):
    """The stream of one exception: how many events it had, and the chain hash of the last (hex)."""

    exception_id: UUID
    events: int
    hash: str


class ExceptionsRemoved(msgspec.Struct, frozen=True):
    """The tombstone of closed exceptions of a domain that had not changed since `unchanged_since`.

    `signature` is the HMAC-SHA-256 (hex) of the other fields under the installation's signing key `key_id`.
    """

    tenant_id: str
    domain: str
    unchanged_since: datetime
    removed: list[Removed]
    key_id: str
    signature: str = ""
