"""May these reports come in now? Too many at once are refused early, and one tenant does not use up all there is."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sentinai.errors import Limited, Unavailable
from sentinai.observability.metrics import REPORTS_SHED


class Admission:
    """Of one process. `waiting_max` reports may wait for their commit, half of them one tenant's; `per_s` of a tenant on average.

    Their bodies may have `bytes_max` bytes, half of them one tenant's. Without limit of the rate where `per_s` is 0.
    """

    def __init__(self, waiting_max: int, bytes_max: int, per_s: float) -> None:
        self._waiting_max = waiting_max
        self._bytes_max = bytes_max
        self._per_s = per_s
        self._waiting: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._free_at: dict[str, float] = {}
        """When what a tenant has sent is worked off at its rate."""

    @contextmanager
    def body(self, tenant_id: str) -> Iterator[Callable[[int], None]]:
        """A request's body, from its first byte to its answer. Call what is given with the size of each piece that arrives.

        That raises Unavailable when there is no room for it.
        """
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            self._require_memory(tenant_id, size)
            held += size
            self._bytes[tenant_id] += size

        try:
            yield hold
        finally:
            self._bytes[tenant_id] -= held
            if self._bytes[tenant_id] <= 0:
                del self._bytes[tenant_id]

    def enter(self, tenant_id: str, count: int, now: float) -> None:
        """`count` reports wait from here on; `now` are seconds of a clock that only goes forwards.

        Raises Unavailable or Limited, and nothing waits then. A request is never too large when nothing else waits.
        """
        self._require_room(tenant_id, count)
        self._require_rate(tenant_id, count, now)
        self._waiting[tenant_id] += count

    def leave(self, tenant_id: str, count: int) -> None:
        """They were stored, or refused."""
        self._waiting[tenant_id] -= count
        if self._waiting[tenant_id] <= 0:
            del self._waiting[tenant_id]

    def _require_room(self, tenant_id: str, count: int) -> None:
        waiting, own = self._waiting.total(), self._waiting[tenant_id]
        if (waiting and waiting + count > self._waiting_max) or (own and own + count > self._waiting_max / 2):
            REPORTS_SHED.inc(count)
            raise Unavailable("Too many reports wait to be stored; nothing of this request was. Send it again.")

    def _require_memory(self, tenant_id: str, size: int) -> None:
        if self._bytes.total() + size > self._bytes_max or self._bytes[tenant_id] + size > self._bytes_max / 2:
            REPORTS_SHED.inc()  # nobody knows yet how many it would have been
            raise Unavailable("Too large reports wait to be stored; nothing of this request was. Send it again.")

    def _require_rate(self, tenant_id: str, count: int, now: float) -> None:
        """A request may go beyond the rate by what it holds; the next one waits until that is worked off."""
        if not self._per_s:
            return
        free_at = max(self._free_at.get(tenant_id, now), now - 1.0)
        if free_at > now:
            REPORTS_SHED.inc(count)
            raise Limited(
                f"This tenant may send {self._per_s:g} reports a second to one process of the API; nothing of this request was "
                "stored. Send it again later.",
                retry_after_s=math.ceil(free_at - now),
            )
        self._free_at[tenant_id] = free_at + count / self._per_s
