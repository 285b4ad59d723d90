"""`notify {channel, message}`: tell people through a channel of the tenant's policy; the playbook does not wait for it."""

from sentinai.errors import Rejected
from sentinai.events.tool import ToolExecutionRequested
from sentinai.playbooks.action import Action, ActionContext, Plan
from sentinai.playbooks.parameters import text


def plan(context: ActionContext) -> Plan:
    channel, message = text(context.params, "channel"), text(context.params, "message")
    if channel not in context.config.channels:
        raise Rejected(f"the tenant's policy has no channel {channel!r}", channel=channel)
    content = {
        "message": message,
        "exception_id": str(context.state.exception_id),
        "exception_type": context.state.exception_type,
        "severity": context.state.severity,
        "title": context.state.title,
    }
    execution_id = context.new_id()
    request = ToolExecutionRequested(execution_id, channel, content, channel=True)
    return Plan([request], output={"execution_id": str(execution_id)})


ACTION = Action("notify", plan)
