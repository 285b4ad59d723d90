"""What does a pack's own test report, and what has to come out?"""

from typing import Annotated, Literal

from sentinai.models.json import Json
from sentinai.packs.annotated import doc
from sentinai.packs.effective import Severity
from sentinai.packs.model.values import ByName, Entries, FreeText, Name, Part, Text, Whole


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
    status: Annotated[FreeText | None, doc("The status it comes to rest in")] = None
    owner: Annotated[FreeText | None, doc("The owner")] = None
    tools: Annotated[Entries[Name] | None, doc("The tools whose calls are asked for, in order")] = None
    notified: Annotated[Entries[Name] | None, doc("The channels that are notified, in order")] = None
    steps: Annotated[ByName[FreeText] | None, doc("The state of each step that was begun, by its name")] = None


class Act(Part, frozen=True):
    """What a person does once nothing goes on by itself: one of approve, reject, complete and skip"""

    by: Annotated[Text | None, doc("Who does it; without it, somebody else than the reporter")] = None
    approve: Annotated[FreeText | None, doc("Says yes to the open question, with this comment")] = None
    reject: Annotated[FreeText | None, doc("Says no to it, with this comment")] = None
    complete: Annotated[Name | None, doc("Did the step of this name")] = None
    output: Annotated[Json, doc("What came of that step")] = None
    skip: Annotated[Name | None, doc("Skips the step of this name")] = None


class Case(Part, frozen=True):
    """One report and what has to come of it"""

    name: Annotated[Text, doc("Name of the case")]
    input: Annotated[GivenReport, doc("What a source system reports")]
    expected: Annotated[Expected, doc("What has to come out; only what is said is compared")]
    answers: Annotated[
        ByName[Entries[Json]] | None,
        doc("What each tool answers, call by call: its output, or {failed: why}, or {unknown: why}"),
    ] = None
    people: Annotated[Entries[Act] | None, doc("What people do, in order, whenever nothing goes on by itself")] = None


class Suite(Part, frozen=True):
    """Cases that belong together"""

    name: Annotated[Text, doc("Name of the suite")]
    cases: Annotated[Entries[Case], doc("The cases of the suite")]
