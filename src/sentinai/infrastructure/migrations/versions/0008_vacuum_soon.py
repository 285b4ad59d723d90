"""Exceptions are vacuumed sooner and without pauses, so that dead rows stay few however large the table is.

With pauses a vacuum took longer the larger the table was, and dead rows grew with it. Short and often costs less than it saves.

Revision ID: 0008
"""

from alembic import op

from sentinai.infrastructure.migrations.script import run_script

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

VACUUM = """
alter table exception set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
alter table tool_execution set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
"""


def upgrade() -> None:
    run_script(op.get_bind(), VACUUM)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup to go back")
