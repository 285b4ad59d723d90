"""The log keeps the order of a stream, whichever of two transactions began first.

Revision ID: 0005
"""

from alembic import op

from sentinai.infrastructure.migrations.script import run_script

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

LOG_ORDER = """
alter table exception add column log_xid xid8 not null default '0';
alter table exception alter column log_xid set default pg_current_xact_id();
comment on column exception.log_xid is 'transaction id that its last event is stored with; later events get none that is lower';
"""


def upgrade() -> None:
    run_script(op.get_bind(), LOG_ORDER)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup to go back")
