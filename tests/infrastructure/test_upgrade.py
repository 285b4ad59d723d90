"""An upgrade with events in flight: nothing is lost, nothing is called twice, and no tool is called without a yes.

The code before the change makes a database in which exceptions are in every state that can be in flight
(`children/in_flight.py`); today's code takes it over.
"""

import asyncio
import json
import os
import secrets
import shutil
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy.engine import make_url
from system import System, client_of, query, require_sound
from typer.testing import CliRunner

from sentinai.bootstrap import build_app, built_runner, prepare_database
from sentinai.cli.main import app as cli
from sentinai.settings import Settings
from sentinai.workers.catalog import STAGES

pytestmark = pytest.mark.slow

BEFORE = "dd8acf5bb1be964990ee69c396515971176cdde5"
REPOSITORY = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "children" / "in_flight.py"
SECRET = "planted-tool-secret"


@dataclass
class Tools:
    """The tools' server. Before the upgrade it is not well, as an exception's name says."""

    port: int = 0
    well: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)
    """(name of the exception, idempotency key) of each request."""


@pytest.fixture(scope="module")
def tools() -> Iterator[Tools]:
    state = Tools()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = body.get("id") or body["paymentId"]
            state.asked.append((name, self.headers["Idempotency-Key"]))
            if name.startswith("unknown") and not state.well:
                self.connection.close()
                return
            busy = name.startswith("backoff") and not state.well
            self.send_response(503 if busy else 200)
            if busy:
                self.send_header("Retry-After", "3600")
            answer = b'{"status": "ok"}'
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_address[1]
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield state
    server.shutdown()
    server.server_close()


@dataclass
class Old:
    """The database that the old code left."""

    name: str
    ids: dict[str, str]
    payloads: dict[str, str]
    """How tools know an exception, where that is not its name."""
    keys: dict[str, dict[str, str]]
    asked: list[tuple[str, str]]
    """What tools were called for before the upgrade."""


def _archived(folder: Path) -> None:
    """The code of that commit, and the part of its tests that starts it."""
    git = shutil.which("git") or pytest.skip("git is needed to get at the code before the change")
    paths = ("src", "tests/system.py", "tests/sample_packs.py")
    done = subprocess.run([git, "-C", str(REPOSITORY), "archive", BEFORE, *paths], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"the code before the change is not there: {done.stderr.decode()[:200]}")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("before")
    _archived(folder)
    return folder


async def _run_before(folder: Path, *arguments: str) -> None:
    """Run the script under the code of that commit."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(folder / "src"), str(folder / "tests")]),
        "SENTINAI_SECRET_SHARED__PSP_API_KEY": SECRET,
    }
    command = [sys.executable, str(SCRIPT), *arguments]
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, cwd=folder, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-5_000:]


@pytest.fixture
def old_tool_worker(before: Path) -> Any:
    """Have the old tool worker take what was asked for, and die with every call."""

    async def work(url: str) -> None:
        await _run_before(before, url)

    return work


@pytest.fixture(scope="module")
async def old(postgres_dsn: str, tools: Tools, before: Path) -> AsyncIterator[Old]:
    name = f"sentinai_test_before_{secrets.token_hex(4)}"
    await _execute(postgres_dsn, f"create database {name}")
    told = before / "told.json"
    await _run_before(before, _with_database(postgres_dsn, name), str(tools.port), str(told))
    yield Old(name, **json.loads(told.read_text()), asked=list(tools.asked))
    await _execute(postgres_dsn, f"drop database {name} with (force)")


@dataclass
class Upgraded:
    """A copy of it under today's code."""

    system: System
    old: Old
    tools: Tools

    @property
    def url(self) -> str:
        return self.system.url

    async def rows(self) -> dict[str, str]:
        """What can be said of each exception in a few words: its status, its run's, and what the run waits for."""
        return {name: await self.row(name) for name in self.old.ids}

    async def row(self, name: str) -> str:
        exception_id = self.old.ids[name]
        found = await self.system.get(f"/exceptions/{exception_id}")
        answer = await self.system.client().get(f"/exceptions/{exception_id}/playbook")
        if answer.status_code == 404:
            return str(found["status"])
        run = answer.json()
        waiting = [f"{s['name']} for {s['waits_for']}" for s in run["steps"] if s["status"] == "RUNNING"]
        return " ".join([found["status"], run["status"], *waiting])

    async def types(self, name: str) -> list[str]:
        return [event["type"] for event in await self.system.events(self.old.ids[name])]

    async def approval(self, name: str) -> str | None:
        """The open question of an exception."""
        found = (await self.system.get(f"/approvals?exception_id={self.old.ids[name]}&status=PENDING"))["items"]
        assert len(found) <= 1, found
        return found[0]["approval_id"] if found else None

    async def says(self, role: str, path: str, **body: Any) -> int:
        answer = await self.system.client(role).post(path, json=body)
        return answer.status_code

    async def on(self, name: str, command: str, role: str = "operator", **body: Any) -> int:
        return await self.says(role, f"/exceptions/{self.old.ids[name]}/{command}", **body)

    async def approve(self, name: str, role: str = "approver", word: str = "approve") -> int:
        return await self.says(role, f"/approvals/{await self.approval(name)}/{word}", comment="now")

    def calls(self, name: str) -> list[str]:
        """The keys under which tools were called for it, before and after."""
        known_as = self.old.payloads.get(name, name)
        return [key for asked, key in self.tools.asked if asked == known_as]

    def called(self, name: str) -> int:
        """How often a tool was called for it since the upgrade."""
        known_as = self.old.payloads.get(name, name)
        return len(self.calls(name)) - sum(asked == known_as for asked, _ in self.old.asked)


@pytest.fixture
async def upgraded(
    old: Old, tools: Tools, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Upgraded]:
    """Migrated, API and workers there; no worker has worked yet."""
    monkeypatch.setenv("SENTINAI_SECRET_SHARED__PSP_API_KEY", SECRET)
    tools.well, tools.asked[:] = True, old.asked
    async with _copied(postgres_dsn, old.name) as url, AsyncExitStack() as stack:
        await prepare_database(url)
        settings = Settings(_env_file=None, tool_allowed_hosts=("127.0.0.1",))
        app = build_app(settings, url)
        await stack.enter_async_context(app.router.lifespan_context(app))
        runner = await stack.enter_async_context(built_runner(settings, url, list(STAGES)))
        clients: dict[str, dict[str, httpx.AsyncClient]] = {
            tenant: {role: client_of(app, key) for role, key in keys.items()} for tenant, keys in old.keys.items()
        }
        yield Upgraded(System(url, app, runner, settings, keys=old.keys, clients=clients), old, tools)


@asynccontextmanager
async def _copied(dsn: str, template: str) -> AsyncIterator[str]:
    name = f"sentinai_test_after_{secrets.token_hex(4)}"
    await _execute(dsn, f"create database {name} template {template}")
    yield _with_database(dsn, name)
    await _execute(dsn, f"drop database {name} with (force)")


def _with_database(dsn: str, name: str) -> str:
    return make_url(dsn).set(database=name).render_as_string(hide_password=False)


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


REST = {
    # what had come to its end stays there
    "resolved": "RESOLVED COMPLETED",
    "refunded": "RESOLVED COMPLETED",
    "charged": "RESOLVED COMPLETED",
    "merged": "MERGED",
    "unclassified": "ESCALATED",
    "blocked": "ESCALATED",
    "taken-over": "ESCALATED FAILED",
    "question-expired": "ESCALATED FAILED",
    "unknown": "ESCALATED FAILED",
    # what waited for somebody waits
    "question": "AWAITING_APPROVAL AWAITING_APPROVAL",
    "call-question": "AWAITING_APPROVAL AWAITING_APPROVAL",
    "question-repeated": "AWAITING_APPROVAL AWAITING_APPROVAL",
    "person": "IN_PROGRESS RUNNING look for PERSON",
    "repeated": "IN_PROGRESS RUNNING look for PERSON",
    "step-question": "AWAITING_APPROVAL RUNNING ask for APPROVAL",
    "backoff": "IN_PROGRESS RUNNING retry for TOOL",
    "dead-letter": "OPEN",
    "dead-letter-discarded": "OPEN",
    "overdue-question": "ESCALATED AWAITING_APPROVAL",
    # what no stage had taken goes on
    "reported": "RESOLVED COMPLETED",
    "normalized": "RESOLVED COMPLETED",
    "triaged": "RESOLVED COMPLETED",
    "parked": "RESOLVED COMPLETED",
    "chosen": "RESOLVED COMPLETED",
    "repeats": "MERGED",
    "delivery": "ESCALATED",
    "reopened": "RESOLVED COMPLETED",
    "asked": "RESOLVED COMPLETED",
    "answered": "RESOLVED COMPLETED",
    "unknown-answer": "ESCALATED RUNNING again for PERSON",
    # what persons had said is heard
    "granted": "RESOLVED COMPLETED",
    "call-granted": "AWAITING_APPROVAL AWAITING_APPROVAL again for TOOL",
    "step-granted": "RESOLVED COMPLETED",
    "rejected": "ESCALATED FAILED",
    "step-rejected": "ESCALATED FAILED",
    "person-done": "AWAITING_APPROVAL RUNNING ask for APPROVAL",
    "person-skipped": "AWAITING_APPROVAL RUNNING ask for APPROVAL",
    "backoff-done": "RESOLVED COMPLETED",
    "asked-done": "RESOLVED COMPLETED",
    "refund-died-done": "RESOLVED COMPLETED",
    "question-withdrawn": "ESCALATED FAILED",
    "backoff-taken-over": "ESCALATED FAILED",
    "asked-taken-over": "ESCALATED FAILED",
    "refunded-reopened": "RESOLVED COMPLETED",
    # time had passed
    "overdue": "ESCALATED CANCELLED",
    "overdue-person": "ESCALATED CANCELLED",
    "overdue-call": "ESCALATED CANCELLED",
    # a process had died with a call under way
    "charge-died": "RESOLVED COMPLETED",
    "refund-died": "ESCALATED RUNNING again for PERSON",
}
"""What each is when today's workers have come to rest, before anybody says anything."""
CALLED = {"charge-died": 1, "asked": 1}
"""Of these, the tools that are called by then; the first under the same key again."""


async def test_before_any_worker_has_worked_everything_can_be_read_and_is_sound(upgraded: Upgraded) -> None:
    system = upgraded.system
    await require_sound(upgraded.url)
    listed = {e["exception_id"]: e["status"] for e in (await system.get("/exceptions?limit=200"))["items"]}
    for name, exception_id in upgraded.old.ids.items():
        found = await system.get(f"/exceptions/{exception_id}")
        assert found["status"] == listed[exception_id], name
        assert len(await system.events(exception_id)) == found["sequence"]
        await system.get(f"/exceptions/{exception_id}/decisions")
        run = await system.client().get(f"/exceptions/{exception_id}/playbook")
        assert run.status_code in (200, 404), (name, run.text)
    for path in (
        "/approvals",
        "/tools/executions",
        "/dead-letters",
        "/audit/events",
        "/stats",
        "/ops/consumers",
        "/api-keys",
    ):
        await system.get(path)
    assert await _outdated(upgraded.url) == len(listed)


async def _outdated(url: str) -> int:
    """Rows that no code of today has written."""
    rows = await query(url, """select count(*) from exception where state::text not like '{"fold":%'""")
    return int(rows[0][0])


async def test_the_record_is_proven_from_the_command_line(upgraded: Upgraded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINAI_DATABASE_URL", upgraded.url)
    for command in (["rebuild", "--check"], ["audit", "verify"]):
        done = await asyncio.to_thread(CliRunner().invoke, cli, command)
        assert done.exit_code == 0, done.output


async def test_rows_of_the_older_fold_can_be_renewed_at_once(
    upgraded: Upgraded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTINAI_DATABASE_URL", upgraded.url)
    monkeypatch.setattr("sentinai.services.verification.BATCH", 7)

    async def rebuild(*options: str) -> str:
        done = await asyncio.to_thread(CliRunner().invoke, cli, ["rebuild", *options])
        assert done.exit_code == 0, done.output
        return done.output

    before, outdated = await upgraded.rows(), await _outdated(upgraded.url)
    assert outdated == len(upgraded.old.ids)
    assert "0 rows" in await rebuild("--tenant", "beta")
    assert await _outdated(upgraded.url) == outdated
    assert f"{outdated} rows were folded anew" in await rebuild()
    assert await _outdated(upgraded.url) == 0
    assert "0 rows" in await rebuild()
    await require_sound(upgraded.url)
    assert await upgraded.rows() == before
    await upgraded.system.settle()
    found = await upgraded.rows()
    assert {name: found[name] for name in REST} == REST
    await require_sound(upgraded.url)


async def test_what_was_in_flight_goes_on_and_what_waited_waits(upgraded: Upgraded) -> None:
    await upgraded.system.settle()
    found = await upgraded.rows()
    assert {name: found[name] for name in REST} == REST
    assert {name: n for name in REST if (n := upgraded.called(name))} == CALLED
    first, second = upgraded.calls("charge-died")
    assert first == second
    (direct,) = (await upgraded.system.get("/tools/executions?tool=ping"))["items"]
    assert direct["status"] == "SUCCEEDED"
    await _nothing_is_lost(upgraded)
    await require_sound(upgraded.url)


async def _nothing_is_lost(upgraded: Upgraded) -> None:
    """Every exception that was reported is there, and a delivery's second part; only dead letters are pending."""
    rows = await query(upgraded.url, "select exception_id::text as id, pending from exception")
    pending = {row["id"]: row["pending"] for row in rows}
    assert len(rows) == len(upgraded.old.ids) + 1
    dead = {name for name, exception_id in upgraded.old.ids.items() if pending[exception_id]}
    assert dead <= {"dead-letter", "dead-letter-discarded"}
    assert await upgraded.system.lag() == 0


async def test_everything_comes_to_its_end_by_what_persons_say(upgraded: Upgraded) -> None:
    system = upgraded.system
    await system.settle()

    async def said(*answers: int) -> None:
        assert set(answers) == {202}
        await system.settle()

    # whoever did a step, or had it decided anew, under the old code may not approve now
    for name in ("step-question", "person-done", "person-skipped", "question-decided-anew"):
        assert await upgraded.approve(name, "admin") == 403, name
    asking = ["question", "question-repeated", "call-question", "call-granted", "step-question"]
    asking += ["person-done", "person-skipped", "question-decided-anew"]
    await said(*[await upgraded.approve(name) for name in asking])
    # a yes that was asked for before is bound to nothing, so what has to be sure of it asks once more
    again = {name for name in asking if await upgraded.approval(name)}
    assert again <= {"call-question", "question-repeated"}
    assert not upgraded.called("call-question")
    await said(*[await upgraded.approve(name) for name in again])
    assert [await upgraded.row(name) for name in asking] == ["RESOLVED COMPLETED"] * len(asking)
    assert {name: upgraded.called(name) for name in asking if upgraded.called(name)} == {
        "call-question": 1,
        "call-granted": 1,
    }

    # steps by hand, by path and by place
    await said(await upgraded.on("person", "playbook/steps/look/complete", output={"seen": True}))
    await said(await upgraded.approve("person"))
    await said(await upgraded.on("unknown-answer", "playbook/steps/1/complete", comment="it was done"))
    await said(await upgraded.on("refund-died", "playbook/steps/again/skip", reason="it was done"))
    await said(await upgraded.on("unknown", "playbook/recalculate", reason="once more"))
    assert (await upgraded.row("unknown")).endswith("again for PERSON")
    await said(await upgraded.on("unknown", "playbook/steps/again/complete", comment="it was done"))
    # dead letters
    letters = {d["exception_id"]: d["dead_letter_id"] for d in (await system.get("/dead-letters"))["items"]}
    await said(await upgraded.says("admin", f"/dead-letters/{letters[upgraded.old.ids['dead-letter']]}/retry"))
    discarded = letters[upgraded.old.ids["dead-letter-discarded"]]
    await said(await upgraded.says("admin", f"/dead-letters/{discarded}/discard", reason="not wanted"))
    await said(await upgraded.on("dead-letter-discarded", "playbook/recalculate"))
    # what people had taken over, and what time had ended
    await said(await upgraded.on("taken-over", "resolve", reason="by phone"))
    await said(await upgraded.on("overdue", "resolve", reason="by phone"))
    await said(await upgraded.on("overdue-question", "playbook/recalculate"))
    await said(await upgraded.approve("overdue-question"))
    # a call whose time comes
    await query(upgraded.url, "update tool_execution set due_at = now() where status = 'REQUESTED'")
    await system.settle()

    ended = ["person", "unknown-answer", "refund-died", "unknown", "dead-letter", "dead-letter-discarded", "taken-over"]
    ended += ["overdue", "overdue-question", "backoff"]
    found = {name: (await upgraded.row(name)).split()[0] for name in ended}
    assert found == dict.fromkeys(ended, "RESOLVED")
    assert upgraded.called("backoff") == 1
    await _nothing_was_done_twice_or_unasked(upgraded)
    await _nothing_is_lost(upgraded)
    await require_sound(upgraded.url)


async def _nothing_was_done_twice_or_unasked(upgraded: Upgraded) -> None:
    """Over both versions: one key for each exception's call, one call of a tool that is not idempotent, none without its yes."""
    for name in upgraded.old.ids:
        calls = upgraded.calls(name)
        assert len(set(calls)) <= 1, name
        if "charge" not in name and "backoff" not in name:
            assert len(calls) <= 1, name
    for name in ("call-question", "call-granted"):
        types = await upgraded.types(name)
        assert types.index("ApprovalGranted") < types.index("ToolExecutionStarted")
    for name in (
        "backoff-done",
        "backoff-taken-over",
        "asked-done",
        "asked-taken-over",
        "refund-died-done",
        "overdue-call",
    ):
        assert upgraded.called(name) == 0, name


@pytest.mark.parametrize("name", ["question", "person", "backoff", "asked", "charge-died"])
async def test_a_decision_that_was_asked_for_anew_is_taken(upgraded: Upgraded, name: str) -> None:
    """The old code left it to the policy stage to end the run; the event is in flight, and the run is active."""
    await upgraded.system.settle()
    types = await upgraded.types(f"{name}-decided-anew")
    after = types[types.index("PlaybookRecalculationRequested") :]
    assert "PlaybookMatched" in after, after


async def test_a_call_in_back_off_can_be_decided_anew(upgraded: Upgraded) -> None:
    """The old code recorded no ToolExecutionRetryScheduled: by its events, such a call is still under way."""
    await upgraded.system.settle()
    assert await upgraded.on("backoff", "playbook/recalculate") == 202
    await upgraded.system.settle()
    await query(upgraded.url, "update tool_execution set due_at = now() where status = 'REQUESTED'")
    await upgraded.system.settle()
    assert (await upgraded.row("backoff"), upgraded.called("backoff")) == ("RESOLVED COMPLETED", 1)


async def test_a_step_whose_question_was_withdrawn_is_not_done_by_hand(upgraded: Upgraded) -> None:
    """The old code withdrew the question when the deadline passed and left the run active: nobody said yes, so nobody can go
    on with it; a person has it decided anew, and then there is a question again."""
    await upgraded.system.settle()
    assert await upgraded.approval("overdue-step-question") is None
    assert await upgraded.on("overdue-step-question", "playbook/steps/ask/complete", comment="written off") == 409
    assert await upgraded.on("overdue-step-question", "playbook/recalculate") == 202
    await upgraded.system.settle()
    assert await upgraded.approval("overdue-step-question") is not None


async def test_a_call_that_an_old_process_began_after_the_migration_is_not_made_again(
    upgraded: Upgraded, old_tool_worker: Any
) -> None:
    """Processes are replaced one after the other: an old one may lease a call of today's tables, and die with it."""
    await old_tool_worker(upgraded.url)
    assert upgraded.called("asked") == 1
    await upgraded.system.settle()
    assert (upgraded.called("asked"), await upgraded.row("asked")) == (1, "ESCALATED RUNNING again for PERSON")
