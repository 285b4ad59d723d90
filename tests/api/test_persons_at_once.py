"""What two people at once, one person with two keys, and a person between two events come to, over HTTP."""

import asyncio
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from sample_packs import DOMAIN
from system import System, client_of, configure


def payment(number: str, code: str, **more: Any) -> dict[str, Any]:
    return {"id": number, "amount": 500, "code": code, **more}


async def key_of(system: System, name: str, role: str, subject: str | None = None) -> Any:
    """A further key of acme, and a client that uses it."""
    answer = await system.client().post("/api-keys", json={"name": name, "role": role, "subject": subject})
    assert answer.status_code == 202, answer.text
    return client_of(system.app, answer.json()["key"])


async def at_human_step(system: System, number: str) -> str:
    found = await system.settled(payment(number, "review"))
    return f"/exceptions/{found['exception_id']}"


async def test_of_two_that_complete_a_step_at_once_one_is_told_so(system: System) -> None:
    path = await at_human_step(system, "twice")
    clients = [system.client("operator"), await key_of(system, "second operator", "operator")]
    answers = await asyncio.gather(*(c.post(f"{path}/playbook/steps/look/complete", json={}) for c in clients))
    assert sorted(a.status_code for a in answers) == [202, 409]
    assert (
        await system.client("operator").post(f"{path}/playbook/steps/1/skip", json={"reason": "x"})
    ).status_code == 409
    await system.settle()
    assert (await system.get("/dead-letters"))["items"] == []
    assert (await system.get(path))["status"] == "AWAITING_APPROVAL"


@pytest.mark.parametrize("place", ["2", "nothing", "ask", "look/1", "0", "-1"])
async def test_a_step_that_does_not_wait_is_a_conflict_that_names_the_one_that_does(system: System, place: str) -> None:
    path = await at_human_step(system, f"place-{place}")
    answer = await system.client("operator").post(f"{path}/playbook/steps/{place}/complete", json={})
    assert answer.status_code == 409
    assert "look" in answer.json()["detail"]


async def test_a_recalculation_wins_over_a_yes_that_comes_after_it(system: System) -> None:
    found = await system.settled(payment("recalc", "chargeback"))
    path, approval = f"/exceptions/{found['exception_id']}", found["approval_id"]
    assert (await system.client("operator").post(f"{path}/playbook/recalculate", json={})).status_code == 202
    assert (await system.client("approver").post(f"/approvals/{approval}/approve", json={})).status_code == 409
    await system.settle()
    assert (await system.get(path))["approval_id"] != approval
    assert (await system.get(f"/approvals/{approval}"))["status"] == "WITHDRAWN"


async def test_a_second_key_of_the_same_person_does_not_make_two_people(system: System) -> None:
    ann = await key_of(system, "ann's laptop", "approver", "ann")
    other = await key_of(system, "ann's phone", "approver", "ann")
    report = await ann.post("/exceptions", json={"source_system": "psp", "payload": payment("two-keys", "chargeback")})
    await system.settle()
    found = await system.get(f"/exceptions/{report.json()['exception_id']}")
    answer = await other.post(f"/approvals/{found['approval_id']}/approve", json={})
    assert answer.status_code == 403
    assert "another person" in answer.json()["detail"]
    assert (await other.post(f"/approvals/{found['approval_id']}/reject", json={})).status_code == 403
    bob = await key_of(system, "bob", "approver")
    assert (await bob.post(f"/approvals/{found['approval_id']}/approve", json={})).status_code == 202
    actors = [e["actor"] for e in await system.events(found["exception_id"])]
    assert actors[0].startswith("user:ann/")


async def test_who_i_am_says_whose_key_it_is(system: System) -> None:
    key = await key_of(system, "shop webhook", "operator", "shop")
    assert (await key.get("/me")).json()["subject"] == "shop"
    listed = {k["name"]: k["subject"] for k in (await system.get("/api-keys"))["items"]}
    assert (listed["shop webhook"], listed["approver"]) == ("shop", "approver")


async def test_an_escalation_before_the_stages_come_stays(system: System) -> None:
    """The person is faster than triage."""
    exception_id = await system.post(payment("faster", "card_declined"))
    answer = await system.client("operator").post(f"/exceptions/{exception_id}/escalate", json={"reason": "mine"})
    assert answer.status_code == 202
    await system.settle()
    found = await system.get(f"/exceptions/{exception_id}")
    assert (found["status"], found["exception_type"]) == ("ESCALATED", "CARD_DECLINED")
    assert "PlaybookStarted" not in [e["type"] for e in await system.events(exception_id)]
    await system.client("operator").post(f"/exceptions/{exception_id}/playbook/recalculate", json={})
    await system.settle()
    assert (await system.get(f"/exceptions/{exception_id}"))["status"] == "RESOLVED"


class Refunds(BaseHTTPRequestHandler):
    """Answers each refund as the test says."""

    status, body, calls = 200, b"{}", 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        Refunds.calls += 1
        self.send_response(Refunds.status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(Refunds.body)))
        self.end_headers()
        self.wfile.write(Refunds.body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def refunds() -> Iterator[type[Refunds]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refunds)
    Thread(target=server.serve_forever, daemon=True).start()
    Refunds.port = server.server_address[1]  # type: ignore[attr-defined]
    Refunds.status, Refunds.body, Refunds.calls = 200, b"{}", 0
    yield Refunds
    server.shutdown()


async def with_port(system: System, refunds: Any, retry: str = "") -> None:
    version = f"3.0.{refunds.port}"
    pack = DOMAIN.replace("127.0.0.1:9/", f"127.0.0.1:{refunds.port}/").replace("1.0.0", version)
    await configure(
        system.client(),
        "acme",
        pack.replace("description: Refund once more\n", f"description: Refund once more\n{retry}"),
        version,
    )


async def test_an_answer_that_cannot_be_used_is_kept_and_settled_by_a_person(system: System, refunds: Any) -> None:
    await with_port(system, refunds)
    refunds.body = b"<html>refund 77 booked</html>"
    found = await system.settled(payment("odd", "refund_stuck"))
    path = f"/exceptions/{found['exception_id']}"
    assert found["status"] == "ESCALATED"
    (call,) = (await system.get(f"/tools/executions?exception_id={found['exception_id']}"))["items"]
    assert call["status"] == "UNKNOWN"
    assert call["answer"] == {
        "status_code": 200,
        "media_type": "text/html",
        "beginning": "<html>refund 77 booked</html>",
    }
    step = (await system.get(f"{path}/playbook"))["steps"][0]
    assert (step["status"], step["waits_for"]) == ("RUNNING", "PERSON")
    for _ in range(2):
        await system.client("operator").post(f"{path}/playbook/recalculate", json={})
        await system.settle()
    assert refunds.calls == 1
    done = await system.client("operator").post(f"{path}/playbook/steps/again/complete", json={"output": {"ref": 77}})
    assert done.status_code == 202
    await system.settle()
    assert (await system.get(path))["status"] == "RESOLVED"
    assert refunds.calls == 1


async def test_reopening_does_not_refund_twice(system: System, refunds: Any) -> None:
    await with_port(system, refunds)
    refunds.body = b'{"ref": 5}'
    found = await system.settled(payment("reopen", "refund_stuck"))
    path = f"/exceptions/{found['exception_id']}"
    assert (found["status"], refunds.calls) == ("RESOLVED", 1)
    await system.client("operator").post(f"{path}/reopen", json={"reason": "the customer says no"})
    await system.settle()
    assert ((await system.get(path))["status"], refunds.calls) == ("RESOLVED", 1)
    step = (await system.get(f"{path}/playbook"))["steps"][0]
    assert step["output"] == {"ref": 5}


@pytest.mark.parametrize("command", ["resolve", "escalate", "skip", "complete"])
async def test_no_command_leaves_a_call_in_back_off_alive(system: System, refunds: Any, command: str) -> None:
    await with_port(system, refunds, "    retry: {maxAttempts: 5, firstDelay: 200ms}\n")
    refunds.status = 429
    found = await system.settled(payment(f"alive-{command}", "refund_stuck"))
    path = f"/exceptions/{found['exception_id']}"
    (call,) = (await system.get(f"/tools/executions?exception_id={found['exception_id']}"))["items"]
    assert call["status"] == "REQUESTED"
    assert call["waits_for"] in ("RETRY", "CIRCUIT_OPEN")
    assert call["due_at"] is not None
    places = {"skip": "/playbook/steps/again/skip", "complete": "/playbook/steps/again/complete"}
    body = {} if command == "complete" else {"reason": "by hand"}
    answer = await system.client("operator").post(path + places.get(command, f"/{command}"), json=body)
    assert answer.status_code == 202
    before = refunds.calls
    await asyncio.sleep(0.5)
    await system.settle()
    (call,) = (await system.get(f"/tools/executions?exception_id={found['exception_id']}"))["items"]
    assert (call["status"], refunds.calls) == ("CANCELLED", before)


async def test_a_call_waits_for_the_yes_that_came_to_be_needed_and_then_goes_on(
    system: System, refunds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second report makes it CRITICAL while the call is in back-off."""
    monkeypatch.setenv("SENTINAI_SECRET_SHARED__PSP_API_KEY", "planted-tool-secret")
    version = f"4.0.{refunds.port}"
    pack = DOMAIN.replace("127.0.0.1:9/", f"127.0.0.1:{refunds.port}/").replace("1.0.0", version)
    worse = pack.replace("'occurrences >= 5', severity: HIGH", "'occurrences >= 2', severity: CRITICAL")
    await configure(system.client(), "acme", worse.replace("firstDelay: 10ms", "firstDelay: 1s"), version)
    refunds.status = 429
    found = await system.settled(payment("worse", "card_declined", retry=True))
    path = f"/exceptions/{found['exception_id']}"
    await system.settled(payment("worse", "card_declined", retry=True))
    refunds.status, refunds.body, before = 200, b'{"status": "ok"}', refunds.calls

    async def call() -> Any:
        (only,) = (await system.get(f"/tools/executions?exception_id={found['exception_id']}"))["items"]
        return only

    async with asyncio.timeout(30):
        while (await call())["waits_for"] != "APPROVAL":
            await system.settle()
    waiting = await system.get(path)
    assert (waiting["status"], waiting["severity"], refunds.calls) == ("AWAITING_APPROVAL", "CRITICAL", before)
    assert (await call())["due_at"] is None
    answer = await system.client("approver").post(f"/approvals/{waiting['approval_id']}/approve", json={})
    assert answer.status_code == 202
    await system.settle()
    assert ((await system.get(path))["status"], refunds.calls) == ("RESOLVED", before + 1)
    assert (await call())["status"] == "SUCCEEDED"


async def test_everything_so_far_is_sound(system: System) -> None:
    await system.require_sound()
