"""From POST to the end, over HTTP: what a solution engineer and an operator see."""

from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from sample_packs import DOMAIN
from system import System, configure

from sentinai.bootstrap import now
from sentinai.tools.fate import NotBegun, Why
from sentinai.tools.provider import ToolCall, ToolResult


def payment(number: str, code: str = "card_declined", amount: int = 500, **more: Any) -> dict[str, Any]:
    return {"id": number, "amount": amount, "code": code, "created": "2026-01-31T12:00:00Z", **more}


async def test_a_declined_card_is_resolved_with_a_timeline_and_evidence(system: System) -> None:
    found = await system.settled(payment("flow-1"))
    assert (found["status"], found["exception_type"], found["severity"]) == ("RESOLVED", "CARD_DECLINED", "LOW")
    assert found["owner"] == "payments-desk"
    types = [event["type"] for event in await system.events(found["exception_id"])]
    assert types[0] == "ExceptionIngested"
    assert types[-1] == "FeedbackCaptured"
    decisions = (await system.get(f"/exceptions/{found['exception_id']}/decisions"))["items"]
    assert [d["stage"] for d in decisions] == ["intake", "triage", "policy", "resolution", "resolution", "feedback"]
    assert all(d["evidence"] for d in decisions)


async def test_the_same_payload_twice_is_one_exception_seen_twice(system: System) -> None:
    first = await system.settled(payment("twice", code="chargeback"))
    again = await system.settled(payment("twice", code="chargeback"))
    assert again["status"] == "MERGED"
    assert again["merged_into"] == first["exception_id"]
    assert (await system.get(f"/exceptions/{first['exception_id']}"))["occurrences"] == 2


async def test_two_reports_in_one_batch_of_work_recur_as_well(system: System) -> None:
    first = await system.post(payment("burst", code="review"))
    second = await system.post(payment("burst", code="review"))
    await system.settle()
    found = [await system.get(f"/exceptions/{i}") for i in (first, second)]
    assert sorted(f["status"] for f in found) == ["IN_PROGRESS", "MERGED"]
    assert [f["occurrences"] for f in found if f["status"] != "MERGED"] == [2]


async def test_after_a_resolution_the_same_key_is_a_new_exception(system: System) -> None:
    first = await system.settled(payment("again"))
    second = await system.settled(payment("again"))
    assert first["status"] == second["status"] == "RESOLVED"
    assert second["occurrences"] == 1


async def test_often_enough_raises_the_severity(system: System) -> None:
    first = await system.settled(payment("often", retry=True))
    assert first["status"] in ("IN_PROGRESS", "ESCALATED")
    for _ in range(4):
        await system.settled(payment("often", retry=True))
    found = await system.get(f"/exceptions/{first['exception_id']}")
    assert (found["occurrences"], found["severity"]) == (5, "HIGH")


async def test_a_delivery_with_many_failures_is_split(system: System) -> None:
    failures = [payment(f"split-{n}", card="4111") for n in range(3)]
    first = await system.settled({"failures": failures}, source="psp-batch")
    assert first["raw_payload"]["id"] == "split-0"
    others = (await system.get("/exceptions?source=psp-batch"))["items"]
    assert {o["title"] for o in others} == {f"Card declined for split-{n}" for n in range(3)}
    again = await system.settled({"failures": failures[:1]}, source="psp-batch")
    assert again["status"] == "RESOLVED"  # the first is closed already: a new one


async def test_an_empty_delivery_is_closed_as_empty(system: System) -> None:
    found = await system.settled({"failures": []}, source="psp-batch")
    assert (found["status"], found["reason"]) == ("RESOLVED", "the delivery holds no exception")


async def test_what_no_pack_knows_is_kept_and_escalated(system: System) -> None:
    found = await system.settled({"anything": [1, 2]}, source="elsewhere")
    assert (found["status"], found["exception_type"]) == ("ESCALATED", "UNCLASSIFIED")
    assert "no active policy" in found["reason"]
    assert found["raw_payload"] == {"anything": [1, 2]}


async def test_an_unapproved_tool_blocks_and_escalates(system: System) -> None:
    found = await system.settled(payment("lost-1", code="lost"))
    assert (found["status"], found["policy_outcome"]) == ("ESCALATED", "BLOCKED")
    assert "shredFile" in found["reason"]


async def test_critical_waits_for_another_persons_yes(system: System) -> None:
    found = await system.settled(payment("critical", code="chargeback"))
    assert (found["status"], found["queue"]) == ("AWAITING_APPROVAL", "disputes")
    path = f"/approvals/{found['approval_id']}"
    assert (await system.client("operator").post(f"{path}/approve", json={})).status_code == 403
    assert (await system.client("approver").post(f"{path}/approve", json={"comment": "go"})).status_code == 202
    assert (await system.client("approver").post(f"{path}/approve", json={})).status_code == 409
    await system.settle()
    assert (await system.get(f"/exceptions/{found['exception_id']}"))["status"] == "RESOLVED"
    assert (await system.get(path))["status"] == "GRANTED"


async def test_a_rejected_playbook_is_escalated_with_the_reason(system: System) -> None:
    found = await system.settled(payment("rejected", code="chargeback"))
    answer = await system.client("approver").post(
        f"/approvals/{found['approval_id']}/reject", json={"comment": "not now"}
    )
    assert answer.status_code == 202
    await system.settle()
    after = await system.get(f"/exceptions/{found['exception_id']}")
    assert after["status"] == "ESCALATED"
    assert "not now" in after["reason"]


async def test_nobody_approves_what_they_asked_for(system: System) -> None:
    found = await system.settled(payment("self", code="chargeback"))
    path = f"/exceptions/{found['exception_id']}/playbook/recalculate"
    assert (await system.client("approver").post(path, json={})).status_code == 202
    await system.settle()
    waiting = await system.get(f"/exceptions/{found['exception_id']}")
    assert waiting["approval_id"] != found["approval_id"]
    answer = f"/approvals/{waiting['approval_id']}/approve"
    assert (await system.client("approver").post(answer, json={})).status_code == 403
    assert (await system.client("admin").post(answer, json={})).status_code == 202
    assert (await system.get(f"/approvals/{found['approval_id']}"))["status"] == "WITHDRAWN"


async def test_a_human_step_then_an_approval_then_the_end(system: System) -> None:
    found = await system.settled(payment("human", code="review"))
    steps = f"/exceptions/{found['exception_id']}/playbook/steps"
    assert (await system.client().post(f"{steps}/2/complete", json={})).status_code == 409
    assert (await system.client().post(f"{steps}/1/complete", json={"output": {"seen": True}})).status_code == 202
    await system.settle()
    waiting = await system.get(f"/exceptions/{found['exception_id']}")
    assert waiting["status"] == "AWAITING_APPROVAL"
    await system.client("approver").post(f"/approvals/{waiting['approval_id']}/approve", json={})
    await system.settle()
    run = await system.get(f"/exceptions/{found['exception_id']}/playbook")
    assert [(s["order"], s["status"]) for s in run["steps"]] == [(1, "COMPLETED"), (2, "COMPLETED"), (3, "COMPLETED")]
    assert (await system.get(f"/exceptions/{found['exception_id']}"))["status"] == "RESOLVED"


async def test_an_approval_that_expires_escalates(system: System) -> None:
    found = await system.settled(payment("expiring", code="review"))
    await system.client().post(f"/exceptions/{found['exception_id']}/playbook/steps/1/skip", json={"reason": "seen"})
    await system.settle()
    sla = next(worker for worker in system.runner.workers if worker.name == "sla")
    usual = sla.platform
    sla.platform = replace(usual, clock=lambda: now() + timedelta(hours=3))
    await system.settle()
    sla.platform = usual
    after = await system.get(f"/exceptions/{found['exception_id']}")
    assert (after["status"], after["approval_id"]) == ("ESCALATED", None)
    failed = [e for e in await system.events(found["exception_id"]) if e["type"] == "PlaybookFailed"]
    assert "the approval expired" in failed[0]["payload"]["reason"]


async def test_people_comment_assign_resolve_and_reopen(system: System) -> None:
    found = await system.settled(payment("people", code="chargeback"))
    path = f"/exceptions/{found['exception_id']}"
    operator = system.client("operator")
    assert (await operator.post(f"{path}/comments", json={"text": "my password=hunter2secret"})).status_code == 202
    assert (await operator.post(f"{path}/assign", json={"owner": "jo"})).status_code == 202
    assert (await operator.post(f"{path}/resolve", json={"reason": "called them"})).status_code == 202
    assert (await operator.post(f"{path}/resolve", json={"reason": "again"})).status_code == 409
    await system.settle()
    after = await system.get(path)
    assert (after["status"], after["owner"], after["approval_id"]) == ("RESOLVED", "jo", None)
    assert "hunter2secret" not in str(await system.events(found["exception_id"]))
    assert (await operator.post(f"{path}/reopen", json={"reason": "came back"})).status_code == 202
    await system.settle()
    assert (await system.get(path))["status"] == "AWAITING_APPROVAL"


async def test_a_viewer_reads_and_changes_nothing(system: System) -> None:
    found = await system.settled(payment("viewer"))
    viewer = system.client("viewer")
    assert (await viewer.get(f"/exceptions/{found['exception_id']}")).status_code == 200
    assert (await viewer.post("/exceptions", json={"source_system": "x", "payload": {}})).status_code == 403
    assert (await viewer.post(f"/exceptions/{found['exception_id']}/resolve", json={"reason": "x"})).status_code == 403


async def test_a_dead_letter_is_repaired_by_a_new_pack_and_retried(system: System) -> None:
    broken = DOMAIN.replace("items: rawPayload.failures", "items: rawPayload").replace(
        "version: 1.0.0", "version: 1.0.1"
    )
    await configure(system.client(), "acme", broken, "1.0.1")
    exception_id = await system.post({"failures": [payment("dead")]}, source="psp-batch")
    await system.settle()
    blocked = await system.get(f"/exceptions/{exception_id}")
    assert (blocked["status"], blocked["blocked"]) == ("OPEN", True)
    letter = (await system.get("/dead-letters"))["items"][0]
    assert (letter["consumer"], letter["error"], letter["exception_id"]) == ("intake", "Rejected", exception_id)
    await configure(system.client(), "acme")
    preview = await system.client().post("/dead-letters/retry", json={"consumer": "intake"})
    assert preview.json()["dead_letter_ids"] == [letter["dead_letter_id"]]
    assert (await system.client().post(f"/dead-letters/{letter['dead_letter_id']}/retry")).status_code == 202
    await system.settle()
    fixed = await system.get(f"/exceptions/{exception_id}")
    assert (fixed["status"], fixed["blocked"]) == ("RESOLVED", False)
    assert (await system.get("/dead-letters"))["items"] == []


async def test_a_discarded_dead_letter_stays_on_record(system: System) -> None:
    broken = DOMAIN.replace("items: rawPayload.failures", "items: rawPayload").replace(
        "version: 1.0.0", "version: 1.0.1"
    )
    await configure(system.client(), "acme", broken, "1.0.1")
    exception_id = await system.post({"failures": [payment("given-up")]}, source="psp-batch")
    await system.settle()
    await configure(system.client(), "acme")
    letter = (await system.get("/dead-letters"))["items"][0]
    answer = await system.client().post(f"/dead-letters/{letter['dead_letter_id']}/discard", json={"reason": "a test"})
    assert answer.status_code == 202
    types = [event["type"] for event in await system.events(exception_id)]
    assert types == ["ExceptionIngested", "DeadLettered", "DeadLetterDiscarded"]


class Tool(BaseHTTPRequestHandler):
    """Answers by path: `/charges/<id>/retry` with ok, or what the id says."""

    seen: list[tuple[str, str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        Tool.seen.append((self.path, self.headers["Idempotency-Key"]))
        busy = "busy" in self.path and sum(path == self.path for path, _ in Tool.seen) < 3
        body = b'{"status": "maybe"}' if "odd" in self.path else b'{"status": "ok"}'
        self.send_response(503 if busy else 400 if "refused" in self.path else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
async def tool(system: System, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The pack's tool on a real server; the pack is activated with its port."""
    monkeypatch.setenv("SENTINAI_SECRET_SHARED__PSP_API_KEY", "planted-tool-secret")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Tool)
    Thread(target=server.serve_forever, daemon=True).start()
    version = f"2.0.{server.server_address[1]}"
    pack = DOMAIN.replace("127.0.0.1:9/", f"127.0.0.1:{server.server_address[1]}/").replace("1.0.0", version)
    await configure(system.client(), "acme", pack, version)
    Tool.seen.clear()
    yield Tool.seen
    await configure(system.client(), "acme")
    server.shutdown()


async def test_a_tool_is_called_once_and_its_answer_decides(system: System, tool: list[Any]) -> None:
    found = await system.settled(payment("tool-1", retry=True))
    assert (found["status"], found["reason"]) == ("RESOLVED", "charged")
    (execution,) = (await system.get(f"/tools/executions?exception_id={found['exception_id']}"))["items"]
    assert (execution["status"], execution["attempts"], execution["output"]) == ("SUCCEEDED", 1, {"status": "ok"})
    assert tool == [("/charges/tool-1/retry", execution["execution_id"])]


async def test_a_busy_tool_is_tried_again_under_the_same_key(system: System, tool: list[Any]) -> None:
    exception_id = await system.post(payment("busy-1", retry=True))
    for _ in range(200):
        await system.settle()
        found = await system.get(f"/exceptions/{exception_id}")
        if found["status"] != "IN_PROGRESS":
            break
    assert found["status"] == "RESOLVED"
    assert len(tool) == 3
    assert len({key for _, key in tool}) == 1


async def test_waiting_for_a_free_slot_uses_up_no_attempt(
    system: System, tool: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = system.runner.executor
    assert executor is not None
    really, refused = executor._invoke, []

    async def busy(call: ToolCall, begin: Any) -> ToolResult:
        if len(refused) < 5:
            refused.append(call.attempt)
            raise NotBegun("too many calls are under way", Why.TOOL_BUSY, 0.0)
        return await really(call, begin)

    monkeypatch.setattr(executor, "_invoke", busy)
    monkeypatch.setattr("sentinai.workers.executor.backoff_s", lambda *_: 0.0)
    found = await system.settled(payment("slotless-1", retry=True))
    assert found["status"] == "RESOLVED"
    assert refused == [1] * 5
    (execution,) = (await system.get(f"/tools/executions?exception_id={found['exception_id']}"))["items"]
    assert (execution["status"], execution["attempts"], len(tool)) == ("SUCCEEDED", 1, 1)


@pytest.mark.parametrize(("number", "why"), [("refused-1", "400"), ("odd-1", "does not fit its schema")])
async def test_a_tool_that_fails_escalates_with_what_it_said(
    system: System, tool: list[Any], number: str, why: str
) -> None:
    found = await system.settled(payment(number, retry=True))
    assert found["status"] == "ESCALATED"
    assert why in found["reason"]


async def test_a_disabled_tool_is_not_called(system: System, tool: list[Any]) -> None:
    switch = "/tools/payments.retryCharge/enablement"
    assert (await system.client().put(switch, json={"enabled": False, "reason": "audit"})).status_code == 202
    found = await system.settled(payment("off-1", retry=True))
    assert (found["status"], found["policy_outcome"], tool) == ("ESCALATED", "BLOCKED", [])
    assert (await system.client().put(switch, json={"enabled": True})).status_code == 202


async def test_everything_so_far_is_sound(system: System) -> None:
    await system.require_sound()
