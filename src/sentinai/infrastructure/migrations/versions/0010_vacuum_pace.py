"""Vacuum of exceptions takes part of a core for some seconds, and no longer all of one for one or two.

At 70 % of the peak nothing is left over for a burst: whatever came meanwhile waited for it.

Revision ID: 0010
"""

from alembic import op

from sentinai.infrastructure.migrations.script import run_script

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

PACE = """
alter table exception set (autovacuum_vacuum_cost_delay = 2, autovacuum_vacuum_cost_limit = 2000);
alter table tool_execution set (autovacuum_vacuum_cost_delay = 2, autovacuum_vacuum_cost_limit = 2000);
"""


def upgrade() -> None:
    run_script(op.get_bind(), PACE)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup to go back")
