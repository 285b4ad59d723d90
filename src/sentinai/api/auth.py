"""Who calls? The tenant comes from the caller's key, never from the request."""

import time
from collections.abc import Callable
from typing import NamedTuple

from sentinai.api.problems import NotAuthenticated
from sentinai.infrastructure.database import Database
from sentinai.infrastructure.repositories.api_keys import holder_of
from sentinai.security.api_keys import hash_api_key
from sentinai.security.roles import Principal

KNOWN_MAX = 10_000
KNOWN_FOR_S = 60.0


class Caller(NamedTuple):
    principal: Principal
    key_hash: bytes


class Authenticator:
    """Looks keys up by hash. `recent` may answer from memory; it is for callers that check again in their commit."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[bytes, tuple[float, Principal]] = {}

    async def current(self, secret: str | None) -> Caller:
        """The caller as the database knows it now; raises NotAuthenticated."""
        key_hash = _hash(secret)
        async with self._database.transaction() as tx:
            principal = await holder_of(tx, key_hash)
        if principal is None:
            self._known.pop(key_hash, None)
            raise NotAuthenticated("The API key is unknown, expired or revoked.")
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[key_hash] = self._clock() + KNOWN_FOR_S, principal
        return Caller(principal, key_hash)

    async def recent(self, secret: str | None) -> Caller:
        """As `current`, but at most KNOWN_FOR_S old."""
        key_hash = _hash(secret)
        known = self._known.get(key_hash)
        if known is not None and known[0] > self._clock():
            return Caller(known[1], key_hash)
        return await self.current(secret)


def _hash(secret: str | None) -> bytes:
    if not secret:
        raise NotAuthenticated("Send your API key as X-API-Key or as Authorization: Bearer.")
    return hash_api_key(secret)
