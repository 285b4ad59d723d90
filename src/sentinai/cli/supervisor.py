"""How does one command run the whole system on this machine, keep it running, and stop all of it?"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

from sentinai.errors import Unavailable
from sentinai.infrastructure.embedded import EmbeddedServer
from sentinai.settings import Settings

STOP_SPARE_S = 2.0
"""Beyond SHUTDOWN_GRACE_S, before a process that does not end is killed."""
CHECK_EVERY_S = 0.2
RESTART_DELAY_S = 0.5
READY_DEADLINE_S = 60.0


@dataclass
class Child:
    """A process of the system; started again when it dies."""

    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    not_before: float = 0.0


@dataclass
class Supervisor:
    """The database (if it is the embedded one), the API and the workers, as processes of their own."""

    settings: Settings
    environment: dict[str, str]
    say: Callable[[str], None]
    children: list[Child] = field(default_factory=list)
    server: EmbeddedServer | None = None
    url: str = ""
    stopping: bool = False

    def start_database(self) -> str:
        """The address of the database; starts the embedded server when no other is configured."""
        self.url = self.settings.database_url
        if not self.url:
            self.server = EmbeddedServer(self.settings.data_dir)
            self.url = self.server.start()
        self.environment["SENTINAI_DATABASE_URL"] = self.url
        return self.url

    def start_processes(self) -> None:
        """The API and the worker processes; returns at once."""
        self.start_process("api", ["api"])
        for number in range(self.settings.worker_processes):
            self.start_process(f"worker {number + 1}", ["worker", "--number", str(number)])
        if self.settings.broker == "kafka":
            self.start_process("relay", ["worker", "relay"])

    def start_process(self, name: str, arguments: list[str]) -> None:
        """One more, and again whenever it dies."""
        self.children.append(Child(name, [*arguments, "--parent-pid", str(os.getpid())]))
        self._spawn(self.children[-1])

    def await_ready(self) -> None:
        """Until the API answers. Raises Unavailable when it does not in time or keeps dying."""
        deadline = time.monotonic() + READY_DEADLINE_S
        address = f"http://{self.settings.api_host}:{self.settings.api_port}/health/ready"
        while time.monotonic() < deadline and not self.stopping:
            with suppress(httpx.HTTPError):
                if httpx.get(address, timeout=2, trust_env=False).status_code == 200 and self._alive("api"):
                    return
            self.check()
            if self.children[0].restarts > 2:
                raise Unavailable(
                    "The API does not start; is its port taken? Set SENTINAI_API_PORT. See its lines above."
                )
            time.sleep(0.05)
        if not self.stopping:
            raise Unavailable("The API did not become ready in time; see its lines above.")

    def watch(self) -> None:
        """Keep everything running until `stop` is called (by a signal)."""
        while not self.stopping:
            self.check()
            time.sleep(CHECK_EVERY_S)

    def check(self) -> None:
        """Start again what died."""
        self._revive_database()
        now = time.monotonic()
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                self.say(f"{child.name} ended with code {child.process.returncode}; it is started again")
                child.process, child.restarts = None, child.restarts + 1
                child.not_before = now + RESTART_DELAY_S
            if child.process is None and now >= child.not_before and not self.stopping:
                self._spawn(child)

    def _revive_database(self) -> None:
        """Start the database again when it died; when that fails, the next check tries once more."""
        try:
            if self.server is not None and self.server.restart_if_dead():
                self.say("the database had died and was started again; it recovers by itself")
        except Unavailable as error:
            self.say(f"the database does not start, trying again: {error.message}")

    def stop(self) -> None:
        """End the processes gracefully, then the database."""
        self.stopping = True
        running = [child.process for child in self.children if child.process is not None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self.settings.shutdown_grace_s + STOP_SPARE_S
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.server is not None:
            self.server.stop()

    def _alive(self, name: str) -> bool:
        return any(c.name == name and c.process is not None and c.process.poll() is None for c in self.children)

    def _spawn(self, child: Child) -> None:
        """In a session of its own: Ctrl-C reaches this process only, which then stops the others in order."""
        command = [sys.executable, "-m", "sentinai.cli.main", *child.arguments]
        child.process = subprocess.Popen(command, env=self.environment, start_new_session=True)
