"""How does a reference to a secret become its value?"""

import re
from collections.abc import Mapping
from pathlib import Path

from sentinai.errors import Missing, Rejected

PREFIX = "SENTINAI_SECRET_"
NAME = re.compile(r"[A-Z][A-Z0-9_]{0,99}")


class SecretStore:
    """Secrets of this installation, by name. Values are read when they are used and never shown."""

    def __init__(self, environ: Mapping[str, str], directory: Path | None) -> None:
        self._environ = environ
        self._directory = directory

    def __repr__(self) -> str:
        return "SecretStore(***)"

    def resolve(self, name: str) -> str:
        """Raises Missing, saying how to set it, for a secret that is not there."""
        if not NAME.fullmatch(name):
            raise Rejected(f"{name!r} is not a secret's name: capital letters, digits and _")
        value = self._environ.get(PREFIX + name) or self._from_file(name)
        if not value:
            raise Missing(f"The secret {name} is not set: give {PREFIX}{name}, or a file {name} under SECRETS_DIR.")
        return value

    def _from_file(self, name: str) -> str | None:
        if self._directory is None or not (self._directory / name).is_file():
            return None
        try:
            return (self._directory / name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = type(error).__name__
            raise Missing(f"The file of the secret {name} under SECRETS_DIR cannot be read: {reason}.") from None
