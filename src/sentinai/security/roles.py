"""Who may do what?"""

from datetime import datetime
from uuid import UUID

import msgspec

from sentinai.errors import Denied

ROLES = ("viewer", "operator", "approver", "admin", "platform_admin")
_RANK = {"viewer": 1, "operator": 2, "approver": 3, "admin": 4}


class Principal(msgspec.Struct, frozen=True):
    """A caller with a valid key. Everything a request touches belongs to `tenant_id`."""

    tenant_id: str
    key_id: UUID
    name: str
    role: str
    subject: str
    """The person or service that holds the key; it may hold several. Every rule about people compares subjects."""
    expires_at: datetime | None = None


def require(principal: Principal, role: str) -> None:
    """Raises Denied unless the principal has the role or a higher one.

    A platform_admin manages tenants and keys and is nobody's viewer.
    """
    allowed = principal.role == role if role == "platform_admin" else _RANK.get(principal.role, 0) >= _RANK[role]
    if not allowed:
        raise Denied(f"This needs the role {role}; this key has {principal.role}.", role=principal.role, needed=role)
