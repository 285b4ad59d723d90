"""How is a pack that was accepted before read again as typed values?"""

from typing import TypeVar

import msgspec

from sentinai.packs.content import Content

D = TypeVar("D", bound=msgspec.Struct)

DECIDES_NOTHING = frozenset({"entities", "testSuites"})
"""Parts of a pack that its configuration does not need; they may have a form that is not accepted any more."""


def read(declared: type[D], content: Content) -> D:
    """Only types are looked at, not constraints, and unknown keys are passed over: an older version accepted them.

    A whole number may be written with a fraction of zero, as JSON Schema allows.
    """
    decisive = {key: value for key, value in content.items() if key not in DECIDES_NOTHING}
    return msgspec.convert(decisive, declared, strict=False)
