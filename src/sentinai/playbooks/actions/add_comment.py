"""`add_comment {text}`: leave a note in the exception's timeline."""

from typing import Annotated

from sentinai.events.playbook import CommentAdded
from sentinai.packs.parameters import parameter
from sentinai.playbooks.action import Action, ActionContext, Parameters, Plan, TextParameter


class AddComment(Parameters, frozen=True):
    text: Annotated[TextParameter, parameter("What the note says")]


def plan(context: ActionContext, params: AddComment) -> Plan:
    return Plan([CommentAdded(params.text)])


ACTION = Action("add_comment", AddComment, plan)
