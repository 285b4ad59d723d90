"""How does a reference to a secret become its value?

A pack names a secret; its tenant decides which value that is: `<TENANT>__<NAME>`, or `SHARED__<NAME>` where the operator
lets every tenant use it. So no tenant's pack reaches another's secret, whatever it names.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from sentinai.errors import Missing, Rejected

PREFIX = "SENTINAI_SECRET_"
SHARED = "SHARED"
"""Stands for every tenant; no tenant may be called so."""
NAME = re.compile(r"(?=.{1,100}\Z)[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
"""Single underscores only: two of them end the tenant."""


class SecretStore:
    """Secrets of this installation, by name. Values are read when they are used and never shown."""

    def __init__(self, environ: Mapping[str, str], directory: Path | None) -> None:
        self._environ = environ
        self._directory = directory

    def __repr__(self) -> str:
        return "SecretStore(***)"

    def resolve(self, tenant_id: str, name: str) -> str:
        """The tenant's secret of this name, else the shared one. Raises Missing, saying how to set it, if there is none."""
        if not NAME.fullmatch(name):
            raise Rejected(f"{name!r} is not a secret's name: capital letters, digits and single _ between them")
        own = f"{tenant_id.upper().replace('-', '_')}__{name}"
        for full in (own, f"{SHARED}__{name}"):
            value = self._environ.get(PREFIX + full) or self._from_file(full)
            if value:
                return value
        raise Missing(
            f"The secret {name} of tenant {tenant_id} is not set: give {PREFIX}{own}, or a file {own} under SECRETS_DIR "
            f"({SHARED} in place of the tenant lets all of them use it)."
        )

    def _from_file(self, name: str) -> str | None:
        if self._directory is None or not (self._directory / name).is_file():
            return None
        try:
            return (self._directory / name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = type(error).__name__
            raise Missing(f"The file of the secret {name} under SECRETS_DIR cannot be read: {reason}.") from None
