"""`assign_owner {owner}`: name the person or team who owns the exception."""

from typing import Annotated

import msgspec

from sentinai.events.playbook import OwnerAssigned
from sentinai.packs.parameters import parameter
from sentinai.playbooks.action import Action, ActionContext, Parameters, Plan

OWNER_CHARS_MAX = 200


class AssignOwner(Parameters, frozen=True):
    owner: Annotated[
        str,
        msgspec.Meta(min_length=1, max_length=OWNER_CHARS_MAX),
        parameter("The person or team who owns it from now on"),
    ]


def plan(context: ActionContext, params: AssignOwner) -> Plan:
    """Whom a person chose stays the owner: the playbook's word is older than the person's."""
    if context.state.owner_kept:
        return Plan(output={"owner": context.state.owner, "chosen_by": "a person"})
    return Plan([OwnerAssigned(params.owner)])


ACTION = Action("assign_owner", AssignOwner, plan)
