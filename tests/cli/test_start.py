"""Does a process that cannot start say why in a sentence?"""

import os
import subprocess
import sys

import pytest

from sentinai.cli.bench.http import free_port


@pytest.mark.parametrize("command", ["api", "worker", "migrate"])
def test_a_database_that_is_away_is_told_in_a_sentence(command: str) -> None:
    environment = os.environ | {"SENTINAI_DATABASE_URL": f"postgresql://nobody@127.0.0.1:{free_port()}/none"}
    ended = subprocess.run(
        [sys.executable, "-m", "sentinai.cli.main", command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "✗ The database" in ended.stderr
    assert "Traceback" not in ended.stderr
