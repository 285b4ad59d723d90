"""What does a pack's own test report, and what has to come out?"""

from typing import Annotated, Literal

from sentinai.models.json import Json
from sentinai.packs.annotated import doc
from sentinai.packs.effective import Severity
from sentinai.packs.model.values import Entries, FreeText, Name, Part, Text, Whole


class GivenReport(Part, frozen=True):
    """What a source system reports"""

    source_system: Annotated[Text, doc("As reported")]
    raw_payload: Annotated[Json, doc("The payload as reported", type=["object", "array"])]
    exception_type: Annotated[Name | None, doc("A type the reporter declares")] = None
    domain: Annotated[FreeText | None, doc("The domain the report names")] = None
    external_id: Annotated[FreeText | None, doc("The reporter's own id")] = None
    occurred_at: Annotated[FreeText | None, doc("When it happened (RFC 3339)")] = None


class Expected(Part, frozen=True):
    """What has to come out; only what is said is compared"""

    exception_type: Annotated[Name | None, doc("The type it is triaged as, or UNCLASSIFIED")] = None
    severity: Annotated[Severity | None, doc("The severity")] = None
    playbook: Annotated[Name | None, doc("The playbook that is chosen")] = None
    policy: Annotated[Literal["APPROVED", "NEEDS_APPROVAL", "BLOCKED"] | None, doc("What the policy says")] = None
    title: Annotated[FreeText | None, doc("The title")] = None
    queue: Annotated[FreeText | None, doc("The queue it is routed to")] = None
    items: Annotated[Whole | None, doc("How many exceptions the report becomes", minimum=0)] = None


class Case(Part, frozen=True):
    """One report and what has to come of it"""

    name: Annotated[Text, doc("Name of the case")]
    input: Annotated[GivenReport, doc("What a source system reports")]
    expected: Annotated[Expected, doc("What has to come out; only what is said is compared")]


class Suite(Part, frozen=True):
    """Cases that belong together"""

    name: Annotated[Text, doc("Name of the suite")]
    cases: Annotated[Entries[Case], doc("The cases of the suite")]
