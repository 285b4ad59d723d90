"""What can be done about an exception, step by step?"""

from typing import Annotated, Literal

from sentinai.models.json import Json
from sentinai.packs.annotated import doc
from sentinai.packs.effective import OnFailure, Severity
from sentinai.packs.model.values import ConditionText, Distinct, Entries, FreeText, Name, Part, StepName, Text, Whole


class Match(Part, frozen=True):
    """When the playbook fits; all criteria have to hold"""

    exception_types: Annotated[Distinct[Name], doc("These types and their descendants")] = ()
    severities: Annotated[Distinct[Severity], doc("These severities")] = ()
    when: Annotated[ConditionText | None, doc("And only if this holds")] = None


class StepDeclaration(Part, frozen=True):
    """One step"""

    name: Annotated[StepName, doc("Name, used as steps.<name> by later steps")]
    action: Annotated[Text, doc("What is done", vocabulary="actions")]
    params: Annotated[dict[str, Json], doc("What the action needs; strings may hold ${…}")] = {}
    when: Annotated[ConditionText | None, doc("Run the step only if this holds, else it is skipped")] = None
    mode: Annotated[Literal["auto", "human"], doc("human: a person does it and says so")] = "auto"
    on_failure: Annotated[OnFailure, doc("What happens when the step fails")] = "ESCALATE"


class PlaybookDeclaration(Part, frozen=True, kw_only=True):
    """A sequence of steps"""

    name: Annotated[Name, doc("Name, shown in the evidence and in runs")]
    version: Annotated[Whole, doc("Version of the playbook", minimum=1)] = 1
    description: Annotated[FreeText, doc("For people")] = ""
    match: Annotated[Match, doc("When the playbook fits; all criteria have to hold")] = Match()
    priority: Annotated[int, doc("Higher wins", minimum=-1_000_000, maximum=1_000_000)] = 0
    steps: Annotated[Entries[StepDeclaration], doc("Steps in order", minItems=1)]
