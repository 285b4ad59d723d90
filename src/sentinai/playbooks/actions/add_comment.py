"""`add_comment {text}`: leave a note in the exception's timeline."""

from sentinai.events.playbook import CommentAdded
from sentinai.playbooks.action import Action, ActionContext, Plan
from sentinai.playbooks.parameters import text


def plan(context: ActionContext) -> Plan:
    return Plan([CommentAdded(text(context.params, "text"))])


ACTION = Action("add_comment", plan)
