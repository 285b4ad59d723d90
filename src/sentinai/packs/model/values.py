"""What may the single values of a pack be: names, texts, expressions, durations, lists?

The constraints are keywords of JSON Schema. They are enforced where a pack is imported, not where a stored one is
compiled: an older version has accepted it.
"""

from typing import Annotated, TypeAlias, TypeVar

import msgspec

from sentinai.packs.annotated import limited
from sentinai.packs.duration import DURATION_PATTERN
from sentinai.packs.expressions import EXPRESSION_CHARS_MAX

TEXT_CHARS_MAX = 10_000
ENTRIES_MAX = 1_000
"""Of every list and every mapping with free keys."""
WHOLE_MAX = 2**31 - 1

T = TypeVar("T")

_NAME = "^[A-Za-z][A-Za-z0-9_.-]{0,99}$"

Name: TypeAlias = Annotated[str, limited(pattern=_NAME)]
StepName: TypeAlias = Annotated[str, limited(pattern="^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
"""A name that expressions can use: steps.<name>."""
DomainName: TypeAlias = Annotated[str, limited(pattern="^[a-z][a-z0-9-]{0,62}$")]
TenantId: TypeAlias = Annotated[str, limited(pattern="^[a-z0-9][a-z0-9-]{0,62}$")]
HeaderName: TypeAlias = Annotated[str, limited(pattern="^[A-Za-z0-9-]{1,100}$")]
SecretName: TypeAlias = Annotated[str, limited(pattern="^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$", maxLength=100)]
SensitivePath: TypeAlias = Annotated[str, limited(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.([A-Za-z_][A-Za-z0-9_]*|\*))*$")]
SemanticVersion: TypeAlias = Annotated[
    str, limited(pattern=r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?$")
]

Text: TypeAlias = Annotated[str, limited(minLength=1, maxLength=TEXT_CHARS_MAX)]
FreeText: TypeAlias = Annotated[str, limited(maxLength=TEXT_CHARS_MAX)]
"""Text that may be empty."""
ConditionText: TypeAlias = Annotated[str, limited("CEL, type bool", minLength=1, maxLength=EXPRESSION_CHARS_MAX)]
DurationText: TypeAlias = Annotated[
    str, limited("duration: whole number and ms, s, m, h or d", pattern=DURATION_PATTERN)
]
Whole: TypeAlias = Annotated[int, limited(maximum=WHOLE_MAX)]
Share: TypeAlias = Annotated[float, limited(minimum=0, maximum=1)]

Entries: TypeAlias = Annotated[tuple[T, ...], limited(maxItems=ENTRIES_MAX)]
Distinct: TypeAlias = Annotated[tuple[T, ...], limited(maxItems=ENTRIES_MAX, uniqueItems=True)]
ByName: TypeAlias = Annotated[dict[Name, T], limited(maxProperties=ENTRIES_MAX)]


class Part(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A declaration of a pack. None stands for what is not written; a null is not accepted at import."""
