"""`request_approval {reason, expiresAfter?, onExpiry?}`: wait until a person says yes or no."""

from datetime import timedelta
from typing import Annotated

from sentinai.events.policy import ApprovalRequested
from sentinai.models.approval import OnExpiry
from sentinai.packs.duration import Duration
from sentinai.packs.model.approval_rule import ON_EXPIRY
from sentinai.packs.parameters import parameter
from sentinai.playbooks.action import Action, ActionContext, Parameters, Plan, TextParameter


class RequestApproval(Parameters, frozen=True):
    reason: Annotated[TextParameter, parameter("What a person is asked to agree to")]
    expires_after: Annotated[Duration | None, parameter("How long a person may take")] = None
    on_expiry: Annotated[OnExpiry, parameter("What happens then", only_with="expiresAfter")] = ON_EXPIRY


def plan(context: ActionContext, params: RequestApproval) -> Plan:
    after = params.expires_after
    expires_at = context.now + timedelta(seconds=after.seconds) if after is not None else None
    asked = ApprovalRequested(context.new_id(), params.reason, context.step.name, expires_at, params.on_expiry)
    return Plan([asked], instant=False)


ACTION = Action("request_approval", RequestApproval, plan, asks_people=True)
