"""`set_status {status, reason}`: resolve or escalate the exception."""

from sentinai.errors import Rejected
from sentinai.events.closing import ExceptionEscalated, ExceptionResolved
from sentinai.playbooks.action import Action, ActionContext, Plan
from sentinai.playbooks.parameters import text


def plan(context: ActionContext) -> Plan:
    status, reason = text(context.params, "status"), text(context.params, "reason")
    match status:
        case "RESOLVED":
            return Plan([ExceptionResolved(reason)])
        case "ESCALATED":
            return Plan([ExceptionEscalated([reason])])
    raise Rejected(f"parameter 'status' must be RESOLVED or ESCALATED, not {status!r}", status=status)


ACTION = Action("set_status", plan)
