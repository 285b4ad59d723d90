"""`notify {channel, message}`: tell people through a channel of the tenant's policy; the playbook does not wait for it."""

from typing import Annotated

from sentinai.errors import Rejected
from sentinai.events.tool import ToolExecutionRequested
from sentinai.packs.parameters import parameter
from sentinai.playbooks.action import Action, ActionContext, Parameters, Plan, TextParameter


class Notify(Parameters, frozen=True):
    channel: Annotated[TextParameter, parameter("A channel of the tenant's policy", refers_to="channel")]
    message: Annotated[TextParameter, parameter("What people are told")]


def plan(context: ActionContext, params: Notify) -> Plan:
    channel = params.channel
    if channel not in context.config.channels:
        raise Rejected(f"the tenant's policy has no channel {channel!r}", channel=channel)
    content = {
        "message": params.message,
        "exception_id": str(context.state.exception_id),
        "exception_type": context.state.exception_type,
        "severity": context.state.severity,
        "title": context.state.title,
    }
    execution_id = context.new_id()
    request = ToolExecutionRequested(execution_id, channel, content, channel=True)
    return Plan([request], output={"execution_id": str(execution_id)})


ACTION = Action("notify", Notify, plan)
