"""Every statement that finds events has one index that can serve it, so that no estimate can choose another.

Now and then the planner took the index of the news for the claims, which reads all events that nobody handled for each
partition: the log stood still for minutes. Who waits for a turn is found by an index with a predicate of its own
(`handled::int = 0`), and news come with the notifications, without any.

Revision ID: 0007
"""

from alembic import op

from sentinai.infrastructure.migrations.script import run_script

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

CHECK = """
create or replace function log_from_elsewhere() returns boolean language sql volatile security definer set search_path = public as $$
  select coalesce(greatest(
    (select xid from consumer_cursor order by xid desc limit 1),
    (select e.xid from consumer_cursor k cross join lateral (select xid from event
       where topic = k.topic and partition = k.partition and not handled order by xid desc, position desc limit 1) e
     order by e.xid desc limit 1)) >= pg_snapshot_xmax(pg_current_snapshot()), false)
$$;
"""


def upgrade() -> None:
    run_script(op.get_bind(), CHECK)
    with op.get_context().autocommit_block():  # the log is written to meanwhile
        op.execute("drop index concurrently if exists event_turns")
        op.execute(
            "create index concurrently event_turns on event (topic, partition, tenant_id, xid, position) "
            "where handled::int = 0"
        )
        op.execute("drop index concurrently if exists event_tenants")
        op.execute("drop index concurrently if exists event_fresh")


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup to go back")
