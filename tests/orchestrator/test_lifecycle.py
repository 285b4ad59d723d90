"""Which changes of status are legal? The whole table, once more, by hand."""

from uuid import UUID

import pytest

from sentinai.errors import Conflict
from sentinai.models.exception_record import CLOSED, FOLD, ExceptionState, Status
from sentinai.orchestrator.lifecycle import LEGAL, may_become, require

TABLE = """
                   OPEN IN_PROGRESS AWAITING_APPROVAL ESCALATED RESOLVED MERGED
OPEN                  -           x                 x         x        x      x
IN_PROGRESS           -           -                 x         x        x      -
AWAITING_APPROVAL     -           x                 -         x        x      -
ESCALATED             -           x                 x         -        x      -
RESOLVED              x           -                 -         -        -      -
MERGED                -           -                 -         -        -      -
"""
_HEAD, *_ROWS = (line.split() for line in TABLE.strip().splitlines())
CHANGES = [(row[0], wanted, mark == "x") for row in _ROWS for wanted, mark in zip(_HEAD, row[1:], strict=True)]


def exception(status: str) -> ExceptionState:
    return ExceptionState(fold=FOLD, tenant_id="acme", exception_id=UUID(int=7), status=Status(status))


def test_the_table_above_has_every_status_twice() -> None:
    assert _HEAD == [row[0] for row in _ROWS] == [str(s) for s in Status]
    assert set(LEGAL) == set(Status)


@pytest.mark.parametrize(("status", "wanted", "legal"), CHANGES)
def test_a_change_of_status_is_legal_or_not(status: str, wanted: str, legal: bool) -> None:
    assert may_become(Status(status), Status(wanted)) is legal


@pytest.mark.parametrize(("status", "wanted", "legal"), CHANGES)
def test_what_is_not_legal_is_a_conflict_that_says_what_stands(status: str, wanted: str, legal: bool) -> None:
    state = exception(status)
    if legal:
        require(state, Status(wanted))
        assert state.status == status, "to ask changes nothing"
        return
    with pytest.raises(Conflict) as refused:
        require(state, Status(wanted))
    assert refused.value.message == f"The exception is {status}; it cannot become {wanted}."
    assert refused.value.details == {"status": status, "wanted": wanted}


@pytest.mark.parametrize("status", Status)
def test_only_what_is_closed_cannot_be_escalated_for_the_first_time(status: Status) -> None:
    assert may_become(status, Status.ESCALATED) == (status not in CLOSED | {Status.ESCALATED})


@pytest.mark.parametrize("status", [s for s in Status if s not in CLOSED])
def test_everything_that_is_not_closed_can_be_resolved(status: Status) -> None:
    assert may_become(status, Status.RESOLVED)


def test_nothing_leaves_a_merge_and_nothing_but_the_first_status_leads_to_it() -> None:
    assert LEGAL[Status.MERGED] == frozenset()
    assert [s for s in Status if may_become(s, Status.MERGED)] == [Status.OPEN]
