"""By when has an exception to be resolved?"""

from typing import Annotated

from sentinai.packs.annotated import doc
from sentinai.packs.model.values import DurationText, Name, Part


class SlaDeclaration(Part, frozen=True):
    """Deadline"""

    resolve_within: Annotated[DurationText, doc("Time from reception to resolution")]
    warn_before: Annotated[DurationText | None, doc("Warn this long before")] = None


class SlaOverride(Part, frozen=True):
    """A tenant's own deadline for a type"""

    exception_type: Annotated[Name, doc("The type and its descendants")]
    resolve_within: Annotated[DurationText, doc("Time from reception to resolution")]
    warn_before: Annotated[DurationText | None, doc("Warn this long before; the domain's when it is not said")] = None
