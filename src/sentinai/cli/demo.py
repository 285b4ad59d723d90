"""`sentinai demo`: three tenants' exceptions stream through all stages, on a database of the demo's own."""

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import httpx
import msgspec
import typer
from rich.live import Live
from rich.table import Table

from sentinai.cli.output import console, table, told_plainly
from sentinai.cli.ports import SAMPLE_TOOLS_PORT, free_port
from sentinai.cli.samples import SampleDomain, sample_domain
from sentinai.cli.serve import KEY_FILE
from sentinai.cli.tool_server import ToolServer
from sentinai.errors import Rejected, Unavailable
from sentinai.models.json import Json

TENANTS = (("acme", "card-payments"), ("beta", "card-payments"), ("gamma", "capital-markets"))
BATCH = 25
DEADLINE_S = 180.0
SETTLED = {"RESOLVED", "ESCALATED", "MERGED"}
STAGES = (
    "ExceptionIngested",
    "TriageCompleted",
    "PolicyEvaluated",
    "PlaybookStarted",
    "ToolExecutionCompleted",
    "ExceptionResolved",
    "ExceptionEscalated",
    "FeedbackCaptured",
)


def demo(
    exceptions: Annotated[int, typer.Option(min=30, max=100_000, help="How many to stream.")] = 1_000,
) -> None:
    """Stream sample exceptions of three tenants through all stages; ends by itself with a summary."""
    with told_plainly(), tempfile.TemporaryDirectory(prefix="sentinai-demo-") as folder:
        samples = {domain: sample_domain(domain) for domain in {d for _, d in TENANTS}}
        tools = _tool_server()
        process, url, keys = _start(Path(folder))
        try:
            show = Demo(url, keys, samples)
            show.configure()
            show.stream(exceptions)
            show.summary(tools, Path(folder))
        finally:
            process.terminate()
            process.wait(20)
            tools.stop()


def _tool_server() -> ToolServer:
    try:
        tools = ToolServer("127.0.0.1", SAMPLE_TOOLS_PORT)
    except OSError as error:
        raise Rejected(
            f"The demo's tools need port {SAMPLE_TOOLS_PORT}, which is taken; stop what listens there."
        ) from error
    tools.start()
    return tools


def _start(folder: Path) -> tuple[subprocess.Popen[bytes], str, dict[str, str]]:
    """The whole system as `sentinai up` runs it, in a folder and on ports of the demo's own."""
    ready = folder / "ready.json"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SENTINAI_DATABASE")}
    environment |= {
        "SENTINAI_DATA_DIR": str(folder / "data"),
        "SENTINAI_API_PORT": str(free_port()),
        "SENTINAI_WORKER_HEALTH_BASE_PORT": str(free_port()),
        "SENTINAI_TOOL_ALLOWED_HOSTS": f"127.0.0.1:{SAMPLE_TOOLS_PORT}",
        "SENTINAI_LOG_LEVEL": "error",
    }
    console.print("Starting database, API and workers …")
    command = [sys.executable, "-m", "sentinai.cli.main", "up", "--no-sample", "--ready-file", str(ready)]
    process = subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.terminate()
            raise Unavailable("The system did not start; its lines stand above.")
        time.sleep(0.05)
    url = msgspec.json.decode(ready.read_bytes())["url"]
    return process, url, msgspec.json.decode((folder / "data" / KEY_FILE).read_bytes())


class Demo:
    """Configures the tenants, streams, approves what waits, and sums up."""

    def __init__(self, url: str, keys: dict[str, str], samples: dict[str, SampleDomain]) -> None:
        self._url = url
        self._keys = keys
        self._samples = samples
        self._clients: dict[str, dict[str, httpx.Client]] = {}
        self._approved = 0

    def configure(self) -> None:
        """Tenants, keys for an admin and another person who approves, packs."""
        platform = self._client(self._keys["platform_key"])
        for tenant, domain in TENANTS:
            if tenant != self._keys["tenant_id"]:
                _post(platform, "/tenants", {"tenant_id": tenant, "name": tenant.title()})
            roles = {}
            for role in ("admin", "approver"):
                wanted = {"name": f"demo {role}", "role": role, "tenant_id": tenant}
                roles[role] = self._client(_post(platform, "/api-keys", wanted)["key"])
            self._clients[tenant] = roles
            sample = self._samples[domain]
            policy = sample.policies[tenant]
            _post(roles["admin"], "/packs/domain", sample.domain.content)
            _post(roles["admin"], "/packs/policy", policy.content)
            pair = {"domain": domain, "domain_version": sample.domain.version, "policy_version": policy.version}
            _post(roles["admin"], "/packs/activate", pair)
        console.print(f"{len(TENANTS)} tenants with their packs and keys are ready.\n")

    def stream(self, exceptions: int) -> None:
        """Report in small batches; go on until every one is settled or waits for nothing we could give."""
        deadline = time.monotonic() + DEADLINE_S
        sent = 0
        with Live(self._progress(0, exceptions), console=console, refresh_per_second=4) as live:
            while time.monotonic() < deadline:
                if sent < exceptions:
                    sent += self._send(sent, min(BATCH, exceptions - sent))
                self._approve()
                live.update(self._progress(sent, exceptions))
                if sent >= exceptions and self._settled(sent):
                    return
                if sent >= exceptions:
                    time.sleep(0.2)
        raise Unavailable("Not everything settled in time; `sentinai doctor` says what holds it up.")

    def summary(self, tools: ToolServer, folder: Path) -> None:
        """Per tenant and type what became of them; times, tool calls, events, and whether the record holds."""
        rows = []
        for tenant, roles in self._clients.items():
            counts: Counter[tuple[str, str]] = Counter()
            for item in _every(roles["admin"], "/exceptions"):
                counts[item["exception_type"] or "–", item["status"]] += 1
            for kind in sorted({k for k, _ in counts}):
                columns = ("RESOLVED", "ESCALATED", "AWAITING_APPROVAL", "MERGED")
                rows.append((tenant, kind, *(counts[kind, status] for status in columns)))
        table("What became of them", ("tenant", "type", "resolved", "escalated", "awaiting", "recurred"), rows)
        for tenant, roles in self._clients.items():
            total = _get(roles["admin"], "/stats")["total"]
            p50, p99 = (total[f"to_resolve_p{q}_s"] for q in (50, 99))
            times = f"p50 {p50 * 1000:,.0f} ms, p99 {p99 * 1000:,.0f} ms" if p50 is not None else "–"
            console.print(
                f"{tenant}: {total['received']} received, {total['resolved']} resolved, {times}", highlight=False
            )
        console.print(
            f"Approved by a person: {self._approved}. Tool calls: {sum(tools.calls.values())} "
            f"({len(tools.done)} different ones answered).",
            highlight=False,
        )
        _verify(folder)

    def _client(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self._url, headers={"X-API-Key": key}, timeout=30, trust_env=False)

    def _send(self, first: int, count: int) -> int:
        tenant, domain = TENANTS[first // BATCH % len(TENANTS)]
        reports = self._samples[domain].reports
        batch = [_numbered(reports[n % len(reports)], n) for n in range(first, first + count)]
        _post(self._clients[tenant]["admin"], "/exceptions/batch", batch)
        return count

    def _approve(self) -> None:
        """What waits is approved by another key than any that asked."""
        for roles in self._clients.values():
            for approval in _get(roles["approver"], "/approvals?status=PENDING")["items"]:
                answer = roles["approver"].post(
                    f"/approvals/{approval['approval_id']}/approve", json={"comment": "demo"}
                )
                self._approved += answer.is_success

    def _settled(self, sent: int) -> bool:
        counts: Counter[str] = Counter()
        for roles in self._clients.values():
            counts.update(_get(roles["admin"], "/stats")["by_status"])
        return counts.total() >= sent and not set(counts) - SETTLED

    def _progress(self, sent: int, exceptions: int) -> Table:
        """How many exceptions have come how far, per tenant."""
        shown = Table(title=f"{sent:,} of {exceptions:,} reported, {self._approved} approved", title_justify="left")
        for column in (
            "tenant",
            "received",
            "open",
            "in progress",
            "awaiting approval",
            "resolved",
            "escalated",
            "recurred",
        ):
            shown.add_column(column, justify="right" if column != "tenant" else "left")
        statuses = ("OPEN", "IN_PROGRESS", "AWAITING_APPROVAL", "RESOLVED", "ESCALATED", "MERGED")
        for tenant, roles in self._clients.items():
            stats: dict[str, int] = _get(roles["admin"], "/stats")["by_status"]
            shown.add_row(tenant, str(sum(stats.values())), *(str(stats.get(status, 0)) for status in statuses))
        return shown


def _verify(folder: Path) -> None:
    environment = os.environ | {"SENTINAI_DATA_DIR": str(folder / "data")}
    environment.pop("SENTINAI_DATABASE_URL", None)
    for arguments in (["audit", "verify"], ["rebuild", "--check"]):
        command = [sys.executable, "-m", "sentinai.cli.main", *arguments]
        done = subprocess.run(command, env=environment, cwd=folder, check=False)
        if done.returncode:
            raise Rejected(f"`sentinai {' '.join(arguments)}` found something; it stands above.")


def _numbered(report: Json, number: int) -> Json:
    """The sample with `{n}` replaced, so that ids differ."""
    return msgspec.json.decode(msgspec.json.encode(report).replace(b"{n}", str(number).encode()))


def _get(client: httpx.Client, path: str) -> Json:
    return _answered(client.get(path))


def _post(client: httpx.Client, path: str, body: Json) -> Json:
    return _answered(client.post(path, json=body))


def _answered(response: httpx.Response) -> Json:
    if not response.is_success:
        raise Rejected(f"{response.request.url.path} answered {response.status_code}: {response.text[:500]}")
    return response.json()


def _every(client: httpx.Client, path: str) -> Json:
    cursor = ""
    while True:
        page = _get(client, f"{path}?limit=200{cursor}")
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        cursor = f"&cursor={page['next_cursor']}"
