"""What can go wrong at any moment? Faults by chance, most of them kills, and a table of what was done."""

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress

from running import Running

RECOVERY_EVERY = 16
"""After so many faults the system has to accept something again before the next."""
KINDS = {"killed": 20, "froze": 2, "cut": 5, "clock": 2}
KINDS_OF_KAFKA = {"repeated": 3, "zombie": 2}
WEIGHTS = {"database": 3, "kafka": 6}
"""How often a process is chosen; others 4."""
CLOCK_STEPS_S = (-300.0, -60.0, 0.0, 60.0, 300.0)


class Faults:
    """Makes them, one after the other, while the client works on."""

    def __init__(self, running: Running, seed: int) -> None:
        self.made: Counter[str] = Counter()
        self._running = running
        self._rng = random.Random(seed)

    def torment(self, count: int) -> None:
        """`count` faults, each 0.1 to 0.6 s after the one before."""
        running, rng = self._running, self._rng
        running.await_accepted()
        for number in range(1, count + 1):
            next_fault = time.monotonic() + rng.uniform(0.1, 0.6)
            while time.monotonic() < next_fault:
                running.work()
            self._one()
            if number % RECOVERY_EVERY == 0:
                running.await_accepted()
        running.await_accepted()

    def table(self) -> str:
        """In Markdown, for a report."""
        running = self._running
        lines = [f"| {name} | {count} |" for name, count in sorted(self.made.items())]
        found = {"accepted": running.accepted} | dict(running.answered) | running.findings
        lines += [f"| **{name}** | {count} |" for name, count in found.items()]
        return "\n".join(["| faults and outcome | count |", "|---|---|", *lines])

    def _one(self) -> None:
        kinds = KINDS if self._running.kafka is None else KINDS | KINDS_OF_KAFKA
        kind = self._rng.choices(list(kinds), list(kinds.values()))[0]
        if kind == "cut":
            self._cut()
        elif kind == "clock":
            offset_s = self._rng.choice(CLOCK_STEPS_S)
            self._running.set_clock(offset_s)
            self.made["clock steps"] += 1
        elif kind == "repeated":
            count = self._running.repeat_messages(self._rng)
            outcome = "messages repeated and reordered" if count else "no messages to repeat (Kafka away)"
            self.made[outcome] += count or 1
        elif kind == "zombie":
            self._zombie()
        else:
            while not (processes := self._running.processes()):
                self._running.work()  # all are dead; the supervisor starts them in a moment
            name = self._rng.choices(list(processes), [WEIGHTS.get(name, 4) for name in processes])[0]
            with suppress(ProcessLookupError):
                self._kill(name, processes[name]) if kind == "killed" else self._freeze(processes[name])
                self.made[f"{kind} {name.split()[0]}"] += 1

    def _kill(self, name: str, pid: int) -> None:
        kafka = self._running.kafka
        if name == "kafka" and kafka is not None:
            kafka.kill()
            kafka.start()
        else:
            os.kill(pid, signal.SIGKILL)

    def _freeze(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        try:
            self._wait(0.2, 1.5)
        finally:
            os.kill(pid, signal.SIGCONT)

    def _zombie(self) -> None:
        """A relay stands still, loses its connections, so the other one goes on in its place, and then finishes what it had begun."""
        pid = self._running.processes().get("relay")
        if pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            try:
                self._running.proxies["database"].cut()
                self._wait(0.5, 2.0)
            finally:
                os.kill(pid, signal.SIGCONT)
            self.made["relays turned zombie"] += 1

    def _cut(self) -> None:
        name, proxy = self._rng.choice(list(self._running.proxies.items()))
        how = self._rng.choice(("reset", "half-way", "stall", "refuse"))
        if how == "reset":
            proxy.cut()
        elif how == "half-way":
            proxy.cut(after_bytes=self._rng.randrange(1, 5_000))
        else:
            switch = proxy.stall if how == "stall" else proxy.refuse
            switch(True)
            try:
                self._wait(0.2, 1.0)
            finally:
                switch(False)
        self.made[f"cut {name} connections ({how})"] += 1

    def _wait(self, least_s: float, most_s: float) -> None:
        """The client works on meanwhile."""
        until = time.monotonic() + self._rng.uniform(least_s, most_s)
        while time.monotonic() < until:
            self._running.work()
