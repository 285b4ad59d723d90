"""Is a tool given a rest, because it failed again and again? A circuit breaker (Nygard, "Release It!", 2007)."""

import msgspec

from sentinai.errors import Unavailable

FAILURES_TO_OPEN = 5
OPEN_FOR_S = 10.0


class Circuit(msgspec.Struct):
    """Closed; or open until a time, after which one probe may pass and decides. Times are seconds of any steady clock."""

    failures: int = 0
    """Since the tool last answered."""
    open_until: float | None = None
    probing: bool = False

    def require_closed(self, now: float) -> None:
        """Raises Unavailable, with the seconds to wait, while open or while somebody else probes."""
        if self.open_until is None:
            return
        wait_s = self.open_until - now
        if wait_s > 0 or self.probing:
            raise Unavailable(
                "the tool failed again and again; it is given a rest",
                sent=False,
                started=False,
                retry_after_s=wait_s if wait_s > 0 else OPEN_FOR_S,
            )

    def enter(self, now: float) -> None:
        """Begin an attempt; behind an opened circuit it is the probe. Raises as `require_closed` does."""
        self.require_closed(now)
        self.probing = self.open_until is not None

    def answered(self) -> None:
        """Even a refusal is an answer: the tool is there."""
        self.failures, self.open_until, self.probing = 0, None, False

    def failed(self, now: float) -> None:
        self.failures += 1
        if self.probing or self.failures >= FAILURES_TO_OPEN:
            self.open_until = now + OPEN_FOR_S
        self.probing = False

    def left(self) -> None:
        """An attempt ended without saying anything about the tool (cancelled, denied before it was made)."""
        self.probing = False
