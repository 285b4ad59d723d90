"""`set_status {status, reason}`: resolve or escalate the exception."""

from typing import Annotated, Literal

from sentinai.events.closing import ExceptionEscalated, ExceptionResolved
from sentinai.packs.parameters import parameter
from sentinai.playbooks.action import Action, ActionContext, Parameters, Plan, TextParameter


class SetStatus(Parameters, frozen=True):
    status: Annotated[Literal["RESOLVED", "ESCALATED"], parameter("How the exception ends, or who goes on with it")]
    reason: Annotated[TextParameter, parameter("Why, for people")]


def plan(context: ActionContext, params: SetStatus) -> Plan:
    if params.status == "RESOLVED":
        return Plan([ExceptionResolved(params.reason)])
    return Plan([ExceptionEscalated([params.reason])])


ACTION = Action("set_status", SetStatus, plan)
