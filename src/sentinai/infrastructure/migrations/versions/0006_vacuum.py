"""Vacuum: often where rows change, so that dead ones do not pile up; gently over the log, whose rows never change.

Nothing waits for a vacuum of the log, but at its usual pace it takes a fifth of a core from the workers for minutes.

Revision ID: 0006
"""

from alembic import op

from sentinai.infrastructure.migrations.script import run_script

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

VACUUM = """
alter table event set (autovacuum_vacuum_cost_delay = 10);
alter table exception set (autovacuum_vacuum_scale_factor = 0.05);
alter table tool_execution set (autovacuum_vacuum_scale_factor = 0.05);
"""


def upgrade() -> None:
    run_script(op.get_bind(), VACUUM)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup to go back")
