"""What kinds of exceptions are there, and how is one recognised?"""

from typing import Annotated

from sentinai.packs.annotated import doc
from sentinai.packs.effective import Severity
from sentinai.packs.model.sla import SlaDeclaration
from sentinai.packs.model.values import ConditionText, Distinct, Entries, FreeText, Name, Part, Share, Text


class DetectionRuleDeclaration(Part, frozen=True):
    """Recognises a type"""

    id: Annotated[Name, doc("Name in the evidence")]
    condition: Annotated[ConditionText, doc("Holds for this type")]
    confidence: Annotated[Share, doc("How sure a match is")] = 1.0


class ExceptionTypeDeclaration(Part, frozen=True):
    """A kind of exception"""

    description: Annotated[FreeText, doc("For people")] = ""
    parent_type: Annotated[Name | None, doc("More general type")] = None
    tags: Annotated[Distinct[FreeText], doc("Free words")] = ()
    detection_rules: Annotated[Entries[DetectionRuleDeclaration], doc("Any match detects the type")] = ()
    severity: Annotated[Severity | None, doc("When no rule says otherwise; inherited from the parent type")] = None
    retriage_on_recurrence: Annotated[
        bool | None, doc("Triage again when it recurs; inherited from the parent type, else false")
    ] = None
    title: Annotated[Text | None, doc("Title; may hold ${…}; inherited from the parent type")] = None
    sla: Annotated[SlaDeclaration | None, doc("Deadline; inherited from the parent type")] = None
