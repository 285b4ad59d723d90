"""Tables whose rows change are vacuumed when a twentieth is dead, not a fifth: what is dead does not grow with a large table.

Revision ID: 0006
"""

from alembic import op

from sentinai.infrastructure.migrations.script import run_script

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

VACUUM = """
alter table exception set (autovacuum_vacuum_scale_factor = 0.05);
alter table tool_execution set (autovacuum_vacuum_scale_factor = 0.05);
"""


def upgrade() -> None:
    run_script(op.get_bind(), VACUUM)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only; restore a backup to go back")
