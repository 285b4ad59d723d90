"""As which system user may the embedded server run, and can that user reach its files?

PostgreSQL refuses to run as root, as root often is the only user of a container or a build machine.
"""

import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentinai.errors import Unavailable

ACCOUNT = "pgserver"
"""System user that is created when root starts the embedded server for the first time."""


@dataclass(frozen=True, slots=True)
class Account:
    uid: int
    gid: int

    @property
    def spawning(self) -> dict[str, Any]:
        """Arguments of `subprocess` that make the child run as this user."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def account_for(data: Path) -> Account:
    """The user who owns `data`, or who shall own it.

    Raises Unavailable when the folder belongs to somebody else, or root has no user to hand the server to.
    """
    owner = data.stat() if data.exists() else None
    if os.geteuid() != 0:
        if owner is not None and owner.st_uid != os.geteuid():
            raise Unavailable(
                f"{data} belongs to {_name_of(owner.st_uid)}: start as that user, or set SENTINAI_DATA_DIR to a folder "
                "of your own."
            )
        return Account(os.geteuid(), os.getegid())
    if owner is not None and owner.st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    entry = _entry() or _create_entry()
    return Account(entry.pw_uid, entry.pw_gid)


def hand_over(folder: Path, account: Account) -> None:
    """Make `folder` the account's alone, and let the account walk there (traverse only, nothing becomes listable)."""
    folder.chmod(0o700)
    if account.uid != os.geteuid():
        os.chown(folder, account.uid, account.gid)
        let_through(folder)


def let_through(path: Path) -> None:
    """Add the traverse bit for others to those parents of `path` that lack it."""
    for parent in path.parents:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(mode | stat.S_IXOTH)


def let_read(folder: Path, account: Account) -> None:
    """Let the account read and execute an installation, should a strict umask have closed it to others."""
    if not account.spawning:
        return
    let_through(folder)
    if folder.stat().st_mode & stat.S_IROTH and folder.stat().st_mode & stat.S_IXOTH:
        return
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _entry() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        return None


def _create_entry() -> pwd.struct_passwd:
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)  # noqa: S603 (constant)
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(
            f"PostgreSQL does not run as root and the system user {ACCOUNT} could not be created: create it by hand, "
            "start as an ordinary user, or set DATABASE_URL to a server of yours."
        ) from error
    return pwd.getpwnam(ACCOUNT)
