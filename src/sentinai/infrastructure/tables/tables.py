"""Which tables and columns do composed queries use? The migrations are the definition; these are names and types."""

from typing import Any

from sqlalchemy import ARRAY, JSON, Boolean, DateTime, Integer, Text, Uuid, column, table
from sqlalchemy.sql.expression import TableClause

_TYPES: dict[str, Any] = {
    "text": Text(),
    "texts": ARRAY(Text()),
    "uuid": Uuid(),
    "time": DateTime(timezone=True),
    "int": Integer(),
    "bool": Boolean(),
    "json": JSON(),
}


def _table(name: str, **columns: str) -> TableClause:
    """Columns by type: `text="a b c"`."""
    return table(name, *(column(c, _TYPES[kind]) for kind, names in columns.items() for c in names.split()))


exception = _table(
    "exception",
    text="tenant_id status severity exception_type domain source_system external_id title owner queue",
    uuid="exception_id",
    int="occurrences pending",
    bool="blocked automated",
    time="occurred_at received_at updated_at triaged_at resolved_at due_at",
    json="state",
)
event = _table(
    "event",
    text="tenant_id stream type topic actor config_hash",
    int="sequence schema_version position",
    uuid="event_id correlation_id causation_id",
    time="occurred_at",
    json="payload",
)
approval = _table(
    "approval",
    text="tenant_id status reason step requested_by decided_by comment",
    uuid="approval_id exception_id",
    int="approvers",
    texts="votes",
    time="requested_at expires_at decided_at",
)
tool_definition = _table(
    "tool_definition", text="tenant_id tool_id name domain definition_hash", json="definition", time="updated_at"
)
tool_enablement = _table("tool_enablement", text="tenant_id tool_id reason", bool="enabled", time="updated_at")
tool_execution = _table(
    "tool_execution",
    text="tenant_id stream step tool status requested_by error config_hash waits_for",
    uuid="execution_id exception_id idempotency_key",
    int="attempts",
    bool="is_channel",
    json="input output answer",
    time="requested_at started_at ended_at due_at",
)
domain_pack = _table(
    "domain_pack", text="tenant_id domain version content_hash imported_by", json="content", time="imported_at"
)
policy_pack = _table(
    "policy_pack", text="tenant_id domain version content_hash imported_by", json="content", time="imported_at"
)
active_config = _table(
    "active_config",
    text="tenant_id config_hash domain domain_version policy_version activated_by",
    bool="active",
    time="activated_at",
)
parked = _table(
    "parked",
    text="tenant_id consumer stream type state error message",
    int="sequence attempts",
    uuid="dead_letter_id",
    time="due_at parked_at",
)
tenant = _table("tenant", text="tenant_id name", bool="suspended", time="created_at")
api_key = _table(
    "api_key", text="tenant_id name role subject hint", uuid="key_id", time="created_at expires_at revoked_at"
)
