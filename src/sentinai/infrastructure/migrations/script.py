"""How does a migration run many statements at once? As one script, in the migration's own transaction."""

from typing import Any


def run_script(bind: Any, script: str) -> None:
    """`op.execute` takes one statement at a time; the driver's simple protocol takes a script."""
    bind.connection.dbapi_connection.run_async(lambda driver: driver.execute(script))
