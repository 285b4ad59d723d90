"""How are severities decided: by the domain's rules, or by a tenant's own word?"""

from typing import Annotated

from sentinai.packs.annotated import doc
from sentinai.packs.effective import Severity
from sentinai.packs.model.values import ConditionText, Name, Part, Text


class SeverityRuleDeclaration(Part, frozen=True):
    """Gives a severity where its condition holds"""

    id: Annotated[Name, doc("Name in the evidence")]
    condition: Annotated[ConditionText, doc("When it applies")]
    severity: Annotated[Text, doc("LOW, MEDIUM, HIGH or CRITICAL, or ${…} giving one")]
    priority_score: Annotated[
        int | None, doc("Order among exceptions of the same severity, 0 to 100", minimum=0, maximum=100)
    ] = None


class SeverityOverrideDeclaration(Part, frozen=True):
    """A tenant's own severity of a type"""

    exception_type: Annotated[Name, doc("The type and its descendants")]
    severity: Annotated[Severity, doc("The tenant's severity for the type and its descendants")]
    when: Annotated[ConditionText | None, doc("Only if this holds")] = None
