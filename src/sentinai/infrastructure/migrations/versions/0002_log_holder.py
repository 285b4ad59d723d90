"""Who holds the log back? Readable by every role, though none of them sees the sessions of others.

Revision ID: 0002
"""

from alembic import op

from sentinai.infrastructure.migrations.script import run_script

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

HOLDER = """
create function log_holder() returns table (pid integer, application_name text, state text, seconds double precision)
language sql volatile security definer set search_path = pg_catalog as $$
  select a.pid, a.application_name, a.state, extract(epoch from clock_timestamp() - a.xact_start)::float8
  from pg_stat_activity a where a.backend_xid is not null and a.pid <> pg_backend_pid() order by a.xact_start limit 1
$$;
comment on function log_holder is 'the longest running writer: consumers see nothing that is newer';
revoke all on function log_holder from public;
grant execute on function log_holder to sentinai_api, sentinai_worker;
"""


def upgrade() -> None:
    run_script(op.get_bind(), HOLDER)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup to go back")
