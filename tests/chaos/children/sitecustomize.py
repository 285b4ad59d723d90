"""How do the product's workers get a clock that jumps? Python imports this first where PYTHONPATH names its folder.

The file at SENTINAI_TEST_CLOCK holds by how many seconds the clock is off; the API keeps the real time.
"""

import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

from sentinai import bootstrap

_OFFSET = Path(os.environ["SENTINAI_TEST_CLOCK"])
_real = bootstrap.now


def _stepped() -> datetime:
    return _real() + timedelta(seconds=float(_OFFSET.read_text()))


if "api" not in sys.orig_argv:
    bootstrap.now = _stepped
