"""Which actions are there?"""

from typing import Any

from sentinai.playbooks.action import Action
from sentinai.playbooks.actions import add_comment, assign_owner, call_tool, notify, request_approval, set_status

CATALOG: tuple[Action[Any], ...] = (
    notify.ACTION,
    assign_owner.ACTION,
    set_status.ACTION,
    add_comment.ACTION,
    call_tool.ACTION,
    request_approval.ACTION,
)

BY_NAME: dict[str, Action[Any]] = {action.name: action for action in CATALOG}
