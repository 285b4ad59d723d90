"""How does a PostgreSQL server live in our own folder, and how is it found again after any kind of death?

Two file locks say what is true; the kernel drops each with the last process that holds it, however that died:
`owner.lock` is held by the process that may start and stop the server, `alive.lock` by the postmaster and by all its
backends, which inherit it. A stale pid file, a reused pid or a zombie cannot lie about either.
"""

import atexit
import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from sentinai.errors import Unavailable
from sentinai.infrastructure.embedded_account import account_for
from sentinai.infrastructure.embedded_cluster import DATABASE, DEFAULT_PORT, Cluster, remedy

START_DEADLINE_S = 90.0
"""Recovery after a crash reads at most `max_wal_size`."""
FAST_STOP_DEADLINE_S = 30.0
IMMEDIATE_STOP_DEADLINE_S = 5.0
ANSWER_DEADLINE_S = 2.0
PAUSE_S = 0.01
SSL_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)
"""Length and code: https://www.postgresql.org/docs/current/protocol-message-formats.html"""


@dataclass(frozen=True, slots=True)
class Postmaster:
    """What `postmaster.pid` says, of a process that really runs."""

    pid: int
    port: int
    socket_dir: str
    ready: bool


class EmbeddedServer:
    """A PostgreSQL server under `data_dir`; listens on a unix socket, and on the loopback `tcp_port` if one is given.

    Only its owner stops it: the process that started it, or that found it running without an owner. An owner that is
    killed leaves it running, and the next start takes it over.
    """

    def __init__(
        self, data_dir: Path, *, tcp_port: int | None = None, overrides: Mapping[str, str] | None = None
    ) -> None:
        self.cluster = Cluster(data_dir.expanduser().resolve() / "postgres", tcp_port, overrides or {})
        self._found: Postmaster | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._owner_lock: int | None = None

    @property
    def dsn(self) -> str:
        """Address for asyncpg and SQLAlchemy, known once `start` returned."""
        assert self._found is not None, "start() first"
        port = "" if self._found.port == DEFAULT_PORT else f"&port={self._found.port}"
        return f"postgresql://postgres@/{DATABASE}?host={self._found.socket_dir}{port}"

    @property
    def tcp_dsn(self) -> str | None:
        """Address for other programs on this machine, password included; None without a TCP port."""
        if self.cluster.tcp_port is None:
            return None
        password = self.cluster.password.read_text().strip()
        return f"postgresql://postgres:{password}@127.0.0.1:{self.cluster.tcp_port}/{DATABASE}"

    @property
    def pid(self) -> int | None:
        """Process id of the postmaster, None when it does not run."""
        postmaster = self._postmaster()
        return postmaster.pid if postmaster else None

    @property
    def owner(self) -> bool:
        """Is it ours to stop?"""
        return self._owner_lock is not None

    def start(self) -> str:
        """Start the server, or attach to it when it runs already; returns the DSN.

        Raises Unavailable with what to fix and the end of the server's log.
        """
        try:
            self.cluster.home.mkdir(parents=True, exist_ok=True)
            self._await(lambda: self._own() or self._attach(), "Another process is starting the embedded database")
            if self.owner:
                self._bring_up()
        except BaseException as error:
            self._release()
            if isinstance(error, OSError):
                raise Unavailable(f"The embedded database cannot start: {error}. {remedy(str(error))}") from error
            raise
        return self.dsn

    def stop(self) -> None:
        """Stop the server if it is ours; what was committed is kept."""
        if not self.owner:
            return
        for sent, deadline_s in ((signal.SIGINT, FAST_STOP_DEADLINE_S), (signal.SIGQUIT, IMMEDIATE_STOP_DEADLINE_S)):
            postmaster = self._postmaster()
            if postmaster is None or self._end(postmaster.pid, sent, deadline_s):
                break
        self._end_leftovers()
        with suppress(OSError):
            self.cluster.socket_dir().rmdir()
        self._release()

    def restart_if_dead(self) -> bool:
        """For supervision: True if the server was dead and had to be started again.

        While another living process owns it, that one sees to it and this returns False. Raises like `start`.
        """
        if self._postmaster() is not None or not (self.owner or self._own()):
            return False
        return self._bring_up()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _own(self) -> bool:
        self._owner_lock = _try_lock(self.cluster.home / "owner.lock")
        if self._owner_lock is None:
            return False
        atexit.register(self.stop)
        os.register_at_fork(after_in_child=self._release)
        return True

    def _release(self) -> None:
        """Close our copy of the lock; in a forked child this leaves the parent the owner."""
        atexit.unregister(self.stop)
        if self._owner_lock is not None:
            os.close(self._owner_lock)
            self._owner_lock = None

    def _attach(self) -> bool:
        self._found = self._postmaster()
        return self._found is not None and self._found.ready and _answers(self._found)

    def _bring_up(self) -> bool:
        """As the owner: attach to what runs, or clear away what is left and launch. True if it was launched."""
        deadline = time.monotonic() + START_DEADLINE_S
        while (alive := _try_lock(self.cluster.home / "alive.lock")) is None:
            if self._attach():
                return False
            if self._found is None:
                self._end_leftovers()
            if time.monotonic() > deadline:
                raise Unavailable(f"A server in {self.cluster.home} neither answers nor ends.\n{self.cluster.tail()}")
            time.sleep(PAUSE_S)
        try:
            self._launch(alive)
        finally:
            os.close(alive)
        return True

    def _launch(self, alive: int) -> None:
        self._end_leftovers()
        account = account_for(self.cluster.data)
        if not self.cluster.data.exists():
            self.cluster.initialise(account, alive)
        self._process = self.cluster.launch(account, alive)
        self._await(self._launched, "The embedded database does not come up")

    def _launched(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            said = self.cluster.tail()
            raise Unavailable(f"The embedded database ended at once. {remedy(said)}\n{said}")
        return self._attach()

    def _postmaster(self) -> Postmaster | None:
        try:
            lines = (self.cluster.data / "postmaster.pid").read_text().splitlines()
            pid, port, socket_dir = int(lines[0]), int(lines[3]), lines[4]
        except (FileNotFoundError, IndexError, ValueError):
            return None
        if not self._lives_in(pid, self.cluster.data):
            return None
        return Postmaster(pid, port, socket_dir, ready=len(lines) > 7 and lines[7].strip() == "ready")

    def _lives_in(self, pid: int, *folders: Path) -> bool:
        """Is it a living process in one of these folders? Every process of a server is in its data folder."""
        if self._process is not None:
            self._process.poll()
        try:
            process = psutil.Process(pid)
            return process.status() != psutil.STATUS_ZOMBIE and process.cwd() in map(str, folders)
        except psutil.Error:
            return False

    def _end(self, pid: int, sent: signal.Signals, deadline_s: float) -> bool:
        with suppress(ProcessLookupError):
            os.kill(pid, sent)
        deadline = time.monotonic() + deadline_s
        while self._lives_in(pid, self.cluster.data):
            if time.monotonic() > deadline:
                return False
            time.sleep(PAUSE_S)
        return True

    def _end_leftovers(self) -> None:
        """Kill what is left of a server without its postmaster, or of a cut-off first start: none of it can commit."""
        places = (self.cluster.data, self.cluster.data_new)
        programs = [p for p in psutil.process_iter(["name"]) if p.info["name"] in ("postgres", "initdb")]
        left = [p for p in programs if self._lives_in(p.pid, *places)]
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=IMMEDIATE_STOP_DEADLINE_S)

    def _await(self, reached: Callable[[], bool], trouble: str) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while not reached():
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{trouble}, for {START_DEADLINE_S:.0f} s now ({self.cluster.home}).\n{self.cluster.tail()}"
                )
            time.sleep(PAUSE_S)


def _answers(postmaster: Postmaster) -> bool:
    """Does it answer an SSLRequest? One that is being killed still has its pid file and an open socket."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(ANSWER_DEADLINE_S)
        probe.connect(f"{postmaster.socket_dir}/.s.PGSQL.{postmaster.port}")
        probe.sendall(SSL_REQUEST)
        return probe.recv(1) in (b"N", b"S")
    return False


def _try_lock(path: Path) -> int | None:
    """An open file whose exclusive lock is now held, or None while another process holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
