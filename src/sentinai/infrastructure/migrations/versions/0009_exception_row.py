"""Changed exceptions travel as an array of rows: with an array for each column the driver looks at every value twice.

A type of its own, and not the table's: a later migration may give the table a column while workers of this version run.

Revision ID: 0009
"""

from alembic import op

from sentinai.infrastructure.migrations.script import run_script

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TYPE = """
create type exception_row as (
  tenant_id text,
  exception_id uuid,
  status text,
  severity text,
  exception_type text,
  domain text,
  source_system text,
  external_id text,
  title text,
  owner text,
  queue text,
  occurrences integer,
  blocked boolean,
  automated boolean,
  occurred_at timestamptz,
  received_at timestamptz,
  updated_at timestamptz,
  triaged_at timestamptz,
  resolved_at timestamptz,
  due_at timestamptz,
  pending integer,
  state json
);
comment on type exception_row is 'an exception as a worker writes it, in the order of its repository''s columns';
"""


def upgrade() -> None:
    run_script(op.get_bind(), TYPE)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup to go back")
