"""Which configurations are active for a tenant, and which one is a running exception under?

Compiled configurations are immutable and cached by hash; a tenant's `config_version` says when its set has changed.
"""

from collections.abc import Iterable

import msgspec

from sentinai.infrastructure.database import Connection
from sentinai.packs.compile import compile_pair
from sentinai.packs.effective import EffectiveConfig, TenantConfiguration

COMPILED_MAX = 500
TENANTS_MAX = 10_000
"""Beyond either the cache starts anew: simpler than an order of use, and rare."""

_VERSIONS = "select tenant_id, config_version, suspended from tenant where tenant_id = any($1::text[])"
_ACTIVE = "select config_hash from active_config where tenant_id = $1 and active order by activated_at, domain"
_DISABLED = "select tool_id from tool_enablement where tenant_id = $1 and not enabled"
_PACKS = """select a.config_hash, d.content as domain_content, p.content as policy_content
  from active_config a
  join domain_pack d on d.tenant_id = a.tenant_id and d.domain = a.domain and d.version = a.domain_version
  join policy_pack p on p.tenant_id = a.tenant_id and p.domain = a.domain and p.version = a.policy_version
  where a.tenant_id = $1 and a.config_hash = any($2::text[])"""


class Configurations:
    """A process's cache. `load` first, then the look-ups need no database."""

    def __init__(self) -> None:
        self._tenants: dict[str, TenantConfiguration] = {}
        self._compiled: dict[str, EffectiveConfig] = {}

    def tenant(self, tenant_id: str) -> TenantConfiguration:
        return self._tenants[tenant_id]

    def by_hash(self, config_hash: str | None) -> EffectiveConfig | None:
        """The configuration an exception is under; None for one that has none."""
        return self._compiled[config_hash] if config_hash else None

    async def load(self, tx: Connection, tenants: Iterable[str], used: Iterable[tuple[str, str | None]] = ()) -> None:
        """Make tenants' active configurations, and `used` (tenant, hash) pairs of running exceptions, available.

        One statement when nothing changed.
        """
        if len(self._compiled) > COMPILED_MAX or len(self._tenants) > TENANTS_MAX:
            self._compiled.clear()
            self._tenants.clear()
        wanted = list(dict.fromkeys(tenants))
        for row in await tx.fetch(_VERSIONS, wanted):
            cached = self._tenants.get(row["tenant_id"])
            if cached is None or cached.version != row["config_version"] or cached.suspended != row["suspended"]:
                await self._reload(tx, row["tenant_id"], row["config_version"], row["suspended"])
        for tenant_id in wanted:
            if tenant_id not in self._tenants:
                self._tenants[tenant_id] = TenantConfiguration(tenant_id, 0, False, (), frozenset())
        for tenant_id, config_hash in set(used):
            if config_hash and config_hash not in self._compiled:
                await self._compile(tx, tenant_id, [config_hash])

    async def _reload(self, tx: Connection, tenant_id: str, version: int, suspended: bool) -> None:
        hashes = [row["config_hash"] for row in await tx.fetch(_ACTIVE, tenant_id)]
        await self._compile(tx, tenant_id, [h for h in hashes if h not in self._compiled])
        disabled = frozenset(row["tool_id"] for row in await tx.fetch(_DISABLED, tenant_id))
        active = tuple(self._compiled[h] for h in hashes)
        self._tenants[tenant_id] = TenantConfiguration(tenant_id, version, suspended, active, disabled)

    async def _compile(self, tx: Connection, tenant_id: str, hashes: list[str]) -> None:
        if not hashes:
            return
        for row in await tx.fetch(_PACKS, tenant_id, hashes):
            domain, policy = (msgspec.json.decode(row[c]) for c in ("domain_content", "policy_content"))
            config = compile_pair(domain, policy)
            assert config.hash == row["config_hash"], (tenant_id, row["config_hash"])
            self._compiled[config.hash] = config
