"""What does each action plan, and which parameters does it refuse?"""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sample_packs import DOMAIN, policy_for

from sentinai.errors import Denied, Rejected
from sentinai.events.closing import ExceptionEscalated, ExceptionResolved
from sentinai.events.playbook import CommentAdded, OwnerAssigned
from sentinai.events.policy import ApprovalRequested
from sentinai.events.tool import ToolExecutionRequested
from sentinai.models.exception_record import FOLD, ExceptionState
from sentinai.packs.compile import compile_pair
from sentinai.packs.document import parse
from sentinai.packs.effective import Step
from sentinai.packs.expressions import Scope, Template
from sentinai.playbooks.action import Action, ActionContext, Plan
from sentinai.playbooks.actions.catalog import BY_NAME, CATALOG

CONFIG = compile_pair(parse(DOMAIN).content, parse(policy_for("acme")).content)
ID = UUID(int=7)
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
GOOD: dict[str, dict[str, Any]] = {
    "notify": {"channel": "ops", "message": "x"},
    "assign_owner": {"owner": "desk"},
    "set_status": {"status": "RESOLVED", "reason": "done"},
    "add_comment": {"text": "x"},
    "call_tool": {"tool": "retryCharge", "input": {"paymentId": "p1"}},
    "request_approval": {"reason": "why"},
}


def run(name: str, written: dict[str, Any] | None = None, **rendered: Any) -> Plan:
    """The plan of a step with these params; `written` is what the playbook says, if a template made something else of it."""
    declared = written or rendered
    params = Template.compile(declared, Scope.PLAYBOOK)
    step = Step("step", name, None, params, "auto", "ESCALATE", declared)
    state = ExceptionState(fold=FOLD, tenant_id="acme", exception_id=ID)
    return BY_NAME[name].run(ActionContext(step, state, CONFIG, lambda: ID, NOW), rendered)


@pytest.mark.parametrize("action", CATALOG, ids=lambda action: action.name)
def test_every_action_plans_something_and_needs_what_it_says_it_needs(action: Action[Any]) -> None:
    assert action.name in GOOD, "give GOOD parameters with which the new action plans something"
    good = GOOD[action.name]
    assert run(action.name, **good).events
    for name in good.keys() - {"input"}:
        with pytest.raises(Rejected, match=f"parameter '{name}' is missing"):
            run(action.name, written=good, **{key: value for key, value in good.items() if key != name})


@pytest.mark.parametrize(
    ("name", "params", "events"),
    [
        ("add_comment", {"text": "x"}, [CommentAdded("x")]),
        ("assign_owner", {"owner": "desk"}, [OwnerAssigned("desk")]),
        ("set_status", {"status": "RESOLVED", "reason": "done"}, [ExceptionResolved("done")]),
        ("set_status", {"status": "ESCALATED", "reason": "stuck"}, [ExceptionEscalated(["stuck"])]),
        ("call_tool", {"tool": "retryCharge"}, [ToolExecutionRequested(ID, "retryCharge", {}, "step")]),
        ("request_approval", {"reason": "why"}, [ApprovalRequested(ID, "why", "step", None, "ESCALATE")]),
        ("request_approval", {"reason": "why", "expiresAfter": None}, [ApprovalRequested(ID, "why", "step")]),
        (
            "request_approval",
            {"reason": "why", "expiresAfter": "8h", "onExpiry": "REJECT"},
            [ApprovalRequested(ID, "why", "step", NOW + timedelta(hours=8), "REJECT")],
        ),
    ],
)
def test_an_action_records_what_its_parameters_say(name: str, params: dict[str, Any], events: list[Any]) -> None:
    assert run(name, **params).events == events


def test_only_what_is_answered_elsewhere_makes_the_step_wait() -> None:
    assert {name for name, good in GOOD.items() if not run(name, **good).instant} == {"call_tool", "request_approval"}


@pytest.mark.parametrize(
    ("name", "bad", "parameter", "reason"),
    [
        ("add_comment", {"text": 5}, "text", "has to be text of 1 to 10000 characters"),
        ("add_comment", {"text": ""}, "text", "has to be text of 1 to 10000 characters"),
        ("add_comment", {"text": "x" * 10_001}, "text", "has to be text of 1 to 10000 characters"),
        ("assign_owner", {"owner": "x" * 201}, "owner", "has to be text of 1 to 200 characters"),
        ("set_status", {"status": "DONE"}, "status", "'DONE' is not one of RESOLVED, ESCALATED"),
        ("call_tool", {"input": []}, "input", "has to be an object"),
        ("request_approval", {"expiresAfter": "soon"}, "expiresAfter", "'soon' is not a duration"),
        ("request_approval", {"expiresAfter": "0s"}, "expiresAfter", "has to be longer than nothing"),
        ("request_approval", {"expiresAfter": 8}, "expiresAfter", "has to be a duration such as 8h"),
        (
            "request_approval",
            {"expiresAfter": "8h", "onExpiry": "APPROVE"},
            "onExpiry",
            "is not one of ESCALATE, REJECT",
        ),
        ("request_approval", {"onExpiry": "REJECT"}, "onExpiry", "decides nothing without 'expiresAfter'"),
        ("request_approval", {"expiresAfter": None, "onExpiry": "REJECT"}, "onExpiry", "decides nothing without"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named_in_plain_words(
    name: str, bad: dict[str, Any], parameter: str, reason: str
) -> None:
    with pytest.raises(Rejected) as caught:
        run(name, **{**GOOD[name], **bad})
    assert caught.value.details == {"parameter": parameter}
    assert reason in caught.value.message


def test_a_tools_name_has_to_be_written_in_the_playbook() -> None:
    with pytest.raises(Denied, match="not computed"):
        run("call_tool", written={"tool": "${domain}"}, tool="retryCharge")


def test_a_tool_that_nobody_approved_is_not_called() -> None:
    with pytest.raises(Denied, match="not approved"):
        run("call_tool", tool="shredFile")


def test_a_channel_that_the_tenant_does_not_have_is_refused() -> None:
    with pytest.raises(Rejected, match="no channel 'pager'"):
        run("notify", channel="pager", message="x")
