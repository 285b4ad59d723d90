"""Which changes of an exception's status are legal? The only place that says so."""

from sentinai.errors import Conflict
from sentinai.models.exception_record import ExceptionState, Status

LEGAL: dict[Status, frozenset[Status]] = {
    Status.OPEN: frozenset(
        {Status.IN_PROGRESS, Status.AWAITING_APPROVAL, Status.ESCALATED, Status.RESOLVED, Status.MERGED}
    ),
    Status.IN_PROGRESS: frozenset({Status.AWAITING_APPROVAL, Status.ESCALATED, Status.RESOLVED}),
    Status.AWAITING_APPROVAL: frozenset({Status.IN_PROGRESS, Status.ESCALATED, Status.RESOLVED}),
    Status.ESCALATED: frozenset({Status.IN_PROGRESS, Status.AWAITING_APPROVAL, Status.RESOLVED}),
    Status.RESOLVED: frozenset({Status.OPEN}),
    Status.MERGED: frozenset(),
}


def may_become(status: Status, wanted: Status) -> bool:
    return wanted in LEGAL[status]


def require(state: ExceptionState, wanted: Status) -> None:
    """Raises Conflict, naming the present status, when the change is not legal."""
    if not may_become(state.status, wanted):
        raise Conflict(
            f"The exception is {state.status}; it cannot become {wanted}.", status=state.status, wanted=wanted
        )
