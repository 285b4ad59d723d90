"""Kill, freeze, cut off or mislead any process at any moment: nothing accepted is lost, nothing is done twice.

SENTINAI_TEST_SEED repeats a run's choices, SENTINAI_TEST_FAULTS sets how many faults the long run makes.
"""

import asyncio
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import Faults
from running import Running

FAULTS = int(os.environ.get("SENTINAI_TEST_FAULTS", "60"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not below pytest's own folder, which other runs close to the database's user."""
    with tempfile.TemporaryDirectory(prefix="sentinai-chaos-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.mark.slow
@pytest.mark.parametrize("count", [4, FAULTS], ids=["short", "long"])
@pytest.mark.parametrize("broker", ["postgres", "kafka"])
async def test_nothing_is_lost_or_doubled_whatever_breaks(
    folder: Path, count: int, broker: str, request: pytest.FixtureRequest
) -> None:
    if broker == "kafka":
        request.getfixturevalue("kafka")  # skips where there is none
    seed = int(os.environ.get("SENTINAI_TEST_SEED", random.SystemRandom().randrange(10**6)))
    print(f"seed {seed} (SENTINAI_TEST_SEED={seed} repeats the choices)")
    running = Running(folder, broker)
    faults = Faults(running, seed)
    try:
        await running.start()
        await asyncio.to_thread(faults.torment, count)
        await running.require_survived()
    finally:
        print(faults.table())
        running.stop()
