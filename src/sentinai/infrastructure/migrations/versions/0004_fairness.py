"""Tenants that are ahead of the cursor of their partition, because others' backlogs may not delay them.

Revision ID: 0004
"""

from alembic import op

from sentinai.infrastructure.migrations.script import run_script

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FAIRNESS = """
create table if not exists tenant_cursor (
  consumer text not null,
  topic text not null,
  partition smallint not null,
  tenant_id text not null,
  xid xid8 not null,
  position bigint not null,
  primary key (consumer, topic, partition, tenant_id)
);
comment on table tenant_cursor is 'only for tenants that overtook others: their events up to here were taken before the cursor came';
alter table tenant_cursor enable row level security;
grant select, insert, update, delete on tenant_cursor to sentinai_worker;
"""
INDEXES = {
    "event_tenants": "event (topic, partition, tenant_id, xid, position) where not handled",
    "tool_execution_tenants": "tool_execution (tenant_id, due_at) where status in ('REQUESTED', 'RUNNING')",
}


def upgrade() -> None:
    run_script(op.get_bind(), FAIRNESS)
    with op.get_context().autocommit_block():  # the log is written to meanwhile
        for name, columns in INDEXES.items():
            op.execute(f"drop index concurrently if exists {name}")
            op.execute(f"create index concurrently {name} on {columns}")
        op.execute("drop index concurrently if exists tool_execution_due")


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup to go back")
