"""`request_approval {reason, expiresAfter?}`: wait until a person says yes or no."""

from datetime import timedelta
from typing import Any

from sentinai.errors import Rejected
from sentinai.events.policy import ApprovalRequested
from sentinai.packs.duration import parse_duration
from sentinai.playbooks.action import Action, ActionContext, Plan
from sentinai.playbooks.parameters import text


def plan(context: ActionContext) -> Plan:
    reason, after = text(context.params, "reason"), context.params.get("expiresAfter")
    expires_at = context.now + timedelta(seconds=_seconds(after)) if after is not None else None
    return Plan([ApprovalRequested(context.new_id(), reason, context.step.name, expires_at)], instant=False)


def _seconds(after: Any) -> float:
    if not isinstance(after, str):
        raise Rejected("parameter 'expiresAfter' must be a duration such as 8h", parameter="expiresAfter")
    return parse_duration(after)


ACTION = Action("request_approval", plan)
