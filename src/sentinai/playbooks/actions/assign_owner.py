"""`assign_owner {owner}`: name the person or team who owns the exception."""

from sentinai.events.playbook import OwnerAssigned
from sentinai.playbooks.action import Action, ActionContext, Plan
from sentinai.playbooks.parameters import text


def plan(context: ActionContext) -> Plan:
    return Plan([OwnerAssigned(text(context.params, "owner", 200))])


ACTION = Action("assign_owner", plan)
