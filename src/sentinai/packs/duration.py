"""How is a duration such as `500ms`, `30s`, `4h` or `7d` read?"""

import re

from sentinai.errors import Rejected

DURATION_MAX_S = 3650 * 86400.0
"""Ten years: a moment that far away is still a date."""

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PATTERN = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")


def parse_duration(text: str) -> float:
    """Seconds. Raises Rejected for anything that is not a whole number and one of ms, s, m, h, d, up to ten years."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise Rejected(f"{text!r} is not a duration: write a whole number and ms, s, m, h or d, for example 4h")
    seconds = int(match[1]) * _UNITS_S[match[2]]
    if seconds > DURATION_MAX_S:
        raise Rejected(f"{text!r} is longer than ten years")
    return seconds
