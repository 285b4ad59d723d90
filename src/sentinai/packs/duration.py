"""How is a duration such as `500ms`, `30s`, `4h` or `7d` read?"""

import re

from sentinai.errors import Rejected

DURATION_MAX_S = 3650 * 86400.0
"""Ten years: a moment that far away is still a date."""
DURATION_PATTERN = "^[0-9]{1,9}(ms|s|m|h|d)$"

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PATTERN = re.compile(DURATION_PATTERN)


class Duration:
    """A length of time that a step's parameter says; more than nothing."""

    __slots__ = ("seconds",)

    def __init__(self, text: str) -> None:
        """Raises Rejected as `parse_duration` does, and for no time at all."""
        self.seconds = parse_duration(text)
        if self.seconds <= 0:
            raise Rejected("has to be longer than nothing")


def parse_duration(text: str) -> float:
    """Seconds. Raises Rejected for anything that is not a whole number and one of ms, s, m, h, d, up to ten years."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise Rejected(f"{text!r} is not a duration: write a whole number and ms, s, m, h or d, for example 4h")
    seconds = int(text.removesuffix(match[1])) * _UNITS_S[match[1]]
    if seconds > DURATION_MAX_S:
        raise Rejected(f"{text!r} is longer than ten years")
    return seconds
