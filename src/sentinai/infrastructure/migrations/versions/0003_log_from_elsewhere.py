"""Was this database restored into another cluster, whose transaction ids are behind those in the log?

Revision ID: 0003
"""

from alembic import op

from sentinai.infrastructure.migrations.script import run_script

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

CHECK = """
create function log_from_elsewhere() returns boolean language sql volatile security definer set search_path = public as $$
  select coalesce(greatest(
    (select xid from consumer_cursor order by xid desc limit 1),
    (select xid from event where not handled order by xid desc limit 1)) >= pg_snapshot_xmax(pg_current_snapshot()), false)
$$;
comment on function log_from_elsewhere is 'true: new events would sort before the cursors and never be delivered';
revoke all on function log_from_elsewhere from public;
grant execute on function log_from_elsewhere to sentinai_api, sentinai_worker, sentinai_ingest;
"""


def upgrade() -> None:
    run_script(op.get_bind(), CHECK)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup to go back")
