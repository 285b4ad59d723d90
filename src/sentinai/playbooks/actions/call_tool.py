"""`call_tool {tool, input}`: have the tool worker call a tool, and wait for its result."""

from typing import Annotated

import msgspec

from sentinai.errors import Denied
from sentinai.events.tool import ToolExecutionRequested
from sentinai.models.json import Json
from sentinai.packs.parameters import parameter
from sentinai.playbooks.action import Action, ActionContext, Parameters, Plan, TextParameter


class CallTool(Parameters, frozen=True):
    tool: Annotated[TextParameter, parameter("A tool of the domain pack, written out", refers_to="tool")]
    input: Annotated[dict[str, Json], parameter("What the tool is given; has to fit its inputSchema")] = msgspec.field(
        default_factory=dict
    )


def plan(context: ActionContext, params: CallTool) -> Plan:
    tool = params.tool
    if tool != context.step.literal_params["tool"]:
        raise Denied("the tool's name must be written in the playbook, not computed", tool=tool)
    if tool not in context.config.approved_tools:
        raise Denied(f"tool {tool!r} is not approved by the tenant's policy", tool=tool)
    request = ToolExecutionRequested(context.new_id(), tool, params.input, context.step.name)
    return Plan([request], instant=False)


ACTION = Action("call_tool", CallTool, plan)
