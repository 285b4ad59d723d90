"""`sentinai exceptions post|list|show` and `sentinai approvals list|approve|reject`: work the queue from a terminal."""

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from sentinai.cli.client import Client
from sentinai.cli.output import console, pick, table, told_plainly
from sentinai.errors import Rejected
from sentinai.models.json import Json

exceptions = typer.Typer(no_args_is_help=True, help="Report, list and show exceptions.")
approvals = typer.Typer(no_args_is_help=True, help="List and answer approvals.")

BATCH = 500
_COLUMNS = ["exception_id", "status", "severity", "exception_type", "title"]
_WIDE_COLUMNS = [*_COLUMNS, "owner", "occurrences", "received_at"]
_WIDE = 120


@exceptions.command()
def post(
    file: Annotated[
        Path, typer.Argument(help="One report, an array of them, or one per line; - reads standard input.")
    ],
    source: Annotated[str | None, typer.Option(help="The content is a bare payload of this source system.")] = None,
) -> None:
    """Report exceptions from a JSON file."""
    with told_plainly():
        client = Client()
        reports = _reports(sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes())
        if source is not None:
            reports = [{"source_system": source, "payload": payload} for payload in reports]
        accepted: list[str] = []
        for first in range(0, len(reports), BATCH):
            accepted += client.post("/exceptions/batch", reports[first : first + BATCH])["exception_ids"]
        for exception_id in accepted:
            print(exception_id)


@exceptions.command("list")
def list_exceptions(
    status: str | None = None,
    severity: str | None = None,
    type: str | None = None,
    text: Annotated[str | None, typer.Option(help="Part of the title, or an external id.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
) -> None:
    """The newest exceptions."""
    with told_plainly():
        page = Client().get("/exceptions", status=status, severity=severity, type=type, text=text, limit=limit)
        columns = _WIDE_COLUMNS if console.width >= _WIDE else _COLUMNS
        table("Exceptions", columns, pick(page["items"], columns))


@exceptions.command()
def show(exception_id: str) -> None:
    """One exception: what is known, its timeline, and the evidence of every decision."""
    with told_plainly():
        client = Client()
        known = client.get(f"/exceptions/{exception_id}")
        shown = [(name, value) for name, value in known.items() if value not in (None, [], {})]
        table(f"Exception {exception_id}", ["", ""], shown)
        events = client.get(f"/exceptions/{exception_id}/events")["items"]
        columns = ["sequence", "occurred_at", "type", "actor"]
        table("Timeline", columns, pick(events, columns))
        for decision in client.get(f"/exceptions/{exception_id}/decisions")["items"]:
            title = f"{decision['stage']}: {decision['decision']} (confidence {decision['confidence']:.2f})"
            evidence = ["rule", "outcome", "detail"]
            table(title, evidence, pick(decision["evidence"], evidence))


@approvals.command("list")
def list_approvals(status: str = "PENDING") -> None:
    """Approvals that wait for a person."""
    with told_plainly():
        columns = ["approval_id", "status", "step", "reason", "expires_at"]
        table("Approvals", columns, pick(Client().get("/approvals", status=status)["items"], columns))


@approvals.command()
def approve(approval_id: str, comment: str | None = None) -> None:
    """Say yes, with the approver's key."""
    _answer(approval_id, "approve", comment)


@approvals.command()
def reject(approval_id: str, comment: str | None = None) -> None:
    """Say no, with the approver's key."""
    _answer(approval_id, "reject", comment)


def _answer(approval_id: str, answer: str, comment: str | None) -> None:
    with told_plainly():
        Client("approver_key").post(f"/approvals/{approval_id}/{answer}", {"comment": comment})
        console.print(f"{answer}: accepted")


def _reports(content: bytes) -> list[Json]:
    try:
        decoded = msgspec.json.decode(content)
    except msgspec.DecodeError:
        lines = [line for line in content.splitlines() if line.strip()]
        try:
            return [msgspec.json.decode(line) for line in lines]
        except msgspec.DecodeError as error:
            raise Rejected(f"The file is neither JSON nor one JSON document per line: {error}") from error
    return decoded if isinstance(decoded, list) else [decoded]
