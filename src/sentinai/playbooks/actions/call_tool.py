"""`call_tool {tool, input}`: have the tool worker call a tool, and wait for its result."""

from sentinai.errors import Denied
from sentinai.events.tool import ToolExecutionRequested
from sentinai.playbooks.action import Action, ActionContext, Plan
from sentinai.playbooks.parameters import mapping, text


def plan(context: ActionContext) -> Plan:
    tool = text(context.params, "tool")
    if tool != context.step.literal_params["tool"]:
        raise Denied("the tool's name must be written in the playbook, not computed", tool=tool)
    if tool not in context.config.approved_tools:
        raise Denied(f"tool {tool!r} is not approved by the tenant's policy", tool=tool)
    request = ToolExecutionRequested(context.new_id(), tool, mapping(context.params, "input"), context.step.name)
    return Plan([request], instant=False)


ACTION = Action("call_tool", plan)
