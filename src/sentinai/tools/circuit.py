"""Is a tool given a rest, because it failed again and again? A circuit breaker (Nygard, "Release It!", 2007)."""

import msgspec

from sentinai.tools.fate import NotBegun, Why

FAILURES_TO_OPEN = 5
OPEN_FOR_S = 10.0


class Circuit(msgspec.Struct):
    """Closed; or open until a time, after which one probe may pass and decides. Times are seconds of any steady clock."""

    failures: int = 0
    """Since the tool last answered."""
    open_until: float | None = None
    probe: int | None = None
    """The attempt that decides; earlier ones may still end while it is under way."""
    entered: int = 0

    def require_closed(self, now: float) -> None:
        """Raises NotBegun, with the seconds to wait, while open or while somebody else probes."""
        if self.open_until is None:
            return
        wait_s = self.open_until - now
        if wait_s > 0 or self.probe is not None:
            wait_s = wait_s if wait_s > 0 else OPEN_FOR_S
            raise NotBegun("the tool failed again and again; it is given a rest", Why.CIRCUIT_OPEN, wait_s)

    def enter(self, now: float) -> int:
        """Begin an attempt and get its number; behind an opened circuit it is the probe. Raises as `require_closed`."""
        self.require_closed(now)
        self.entered += 1
        if self.open_until is not None:
            self.probe = self.entered
        return self.entered

    def answered(self) -> None:
        """Even a refusal is an answer: the tool is there."""
        self.failures, self.open_until, self.probe = 0, None, None

    def failed(self, now: float, attempt: int) -> None:
        """The probe opens the circuit anew; an earlier attempt that fails behind an open circuit says nothing new."""
        self.failures += 1
        if self.probe == attempt or (self.open_until is None and self.failures >= FAILURES_TO_OPEN):
            self.open_until = now + OPEN_FOR_S
        self.left(attempt)

    def left(self, attempt: int) -> None:
        """An attempt ended; if it was the probe, the next one may be."""
        if self.probe == attempt:
            self.probe = None
