"""Does something in a pack look like a secret?"""

import re
from collections.abc import Iterator

from sentinai.models.json import Json
from sentinai.packs.checks.finding import Finding
from sentinai.packs.pointer import pointer_part

_SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\b[sr]k_(?:live|test|sentinai)_\w{8,}"
    r"|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bxox[abprs]-[\w-]{10,}|\bAIza[\w-]{35}\b"
    r"|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+|\b[a-z][a-z0-9+.-]*://[^\s/:@${]+:[^\s/@${]+@"
)


def secrets(value: Json, place: str = "") -> Iterator[Finding]:
    """Everything that looks like a secret, wherever it stands."""
    if isinstance(value, str) and _SECRET.search(value):
        yield Finding(place, "looks like a secret: name one instead (secret: NAME)")
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from secrets(inner, place + pointer_part(key))
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield from secrets(inner, f"{place}/{n}")
