"""`sentinai retention`: remove closed exceptions whose time is over."""

import asyncio
import secrets
from typing import Annotated

import typer

from sentinai.bootstrap import build_commands, opened
from sentinai.cli.output import console, table, told_plainly
from sentinai.cli.serve import required_url
from sentinai.errors import Rejected
from sentinai.infrastructure.database import OWNER
from sentinai.services.retention import count_closed, policies, remove_closed
from sentinai.settings import Settings, load_settings

retention = typer.Typer(no_args_is_help=True, help="Remove closed exceptions whose time is over.")

KEY_FILE = "signing.key"


@retention.command("run")
def run(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant; all by default.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
) -> None:
    """Remove closed exceptions that have not changed for as many days as `retentionPolicies.dataTTL` of their domain says.

    Events, row, approvals and tool calls go; a signed tombstone stays. Let it run once a day.
    """
    with told_plainly():
        settings = load_settings()
        key = None if dry_run else _required_key(settings)
        rows, kept = asyncio.run(_run(settings, tenant, key))
        title = "Would be removed" if dry_run else "Removed"
        table(title, ("tenant", "domain", "kept for (days)", "exceptions"), rows)
        if not rows:
            console.print("No active policy has retentionPolicies.dataTTL; everything is kept.")
        if kept:
            console.print(
                f"[yellow]![/] {kept:,} are kept until Kafka has had their events: is the relay running? See `sentinai doctor`."
            )


async def _run(
    settings: Settings, tenant: str | None, key: bytes | None
) -> tuple[list[tuple[str, str, str, str]], int]:
    """What went, and how many stay only because of Kafka. Without a key it only counts."""
    rows, kept, kafka = [], 0, settings.broker == "kafka"
    async with opened(required_url(settings), OWNER) as database:
        owner = build_commands(database)
        with console.status("looking …") as status:
            for policy in await policies(owner, tenant):
                count = 0
                if key is None:
                    count = await count_closed(owner, policy, kafka=kafka)
                else:
                    async for removed in remove_closed(owner, policy, key, kafka=kafka):
                        count += removed
                        status.update(f"{policy.tenant_id}, {policy.domain}: {count:,}")
                rows.append((policy.tenant_id, policy.domain, str(policy.days), f"{count:,}"))
                if kafka:
                    kept += await count_closed(owner, policy, kafka=False) - (count if key is None else 0)
    return rows, kept


def _required_key(settings: Settings) -> bytes:
    key = signing_key(settings, create=True)
    if key is None:
        raise Rejected(
            "Tombstones are signed, and there is no key: set SENTINAI_SIGNING_KEY to at least 32 random characters "
            "(python -c 'import secrets; print(secrets.token_hex(32))') and keep it."
        )
    return key


def signing_key(settings: Settings, *, create: bool = False) -> bytes | None:
    """SENTINAI_SIGNING_KEY; with the embedded database a key of its own, in the data folder; None where neither is there."""
    if settings.signing_key:
        return settings.signing_key.encode()
    if settings.database_url:
        return None
    file = settings.data_dir / KEY_FILE
    if not file.exists() and create:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32))
    return file.read_text().strip().encode() if file.exists() else None
