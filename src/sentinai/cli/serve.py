"""`sentinai up`, `api`, `worker` and `migrate`: run the system, or a part of it."""

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sentinai.cli.output import console, errors, told_plainly
from sentinai.cli.ports import SAMPLE_TOOLS_PORT
from sentinai.errors import Rejected
from sentinai.settings import Settings, load_settings

SAMPLE_TENANT, SAMPLE_DOMAIN = "acme", "card-payments"
KEY_FILE = "first-keys.json"

ParentPid = Annotated[int | None, typer.Option(hidden=True)]


def up(
    ready_file: Annotated[Path | None, typer.Option(help="Write url, tenant and key there once it serves.")] = None,
    sample: Annotated[bool, typer.Option(help="Give the first tenant a sample domain and its tools.")] = True,
) -> None:
    """Run everything on this machine: database, API, workers. Ctrl-C stops all of it."""
    with told_plainly():
        settings = load_settings()
        _run_up(settings, ready_file, sample)


def api(parent_pid: ParentPid = None) -> None:
    """Serve the HTTP API on the configured database."""
    with told_plainly():
        from sentinai.cli.processes import run_api

        settings = load_settings()
        run_api(settings, required_url(settings), parent_pid)


def worker(
    names: Annotated[list[str] | None, typer.Argument(help="Workers to run; all when none is named.")] = None,
    processes: Annotated[int, typer.Option(min=1, max=64, help="How many processes to run them in.")] = 1,
    number: Annotated[int, typer.Option(hidden=True)] = 0,
    parent_pid: ParentPid = None,
) -> None:
    """Run workers on the configured database."""
    with told_plainly():
        from sentinai.cli.processes import run_workers
        from sentinai.messaging.broker import RELAY
        from sentinai.workers.catalog import BY_NAME, STAGES

        settings = load_settings()
        wanted = names or list(STAGES)
        unknown = [name for name in wanted if name not in BY_NAME]
        if unknown:
            raise Rejected(f"There is no worker {unknown[0]!r}; there are {', '.join(BY_NAME)}.")
        if RELAY in wanted and len(wanted) > 1:
            raise Rejected("The relay runs in a process of its own: `sentinai worker relay`.")
        url = required_url(settings)
        for other in range(1, processes):
            if os.fork() == 0:
                run_workers(settings, url, wanted, number + other, os.getppid())
                return
        run_workers(settings, url, wanted, number, parent_pid)


def migrate() -> None:
    """Bring the configured database's tables up to date."""
    with told_plainly():
        import asyncio

        from sentinai.bootstrap import prepare_database

        settings = load_settings()
        for finding in asyncio.run(prepare_database(required_url(settings), settings)):
            errors.print(f"[yellow]![/] {finding}")
        console.print("The database is up to date.")


def setup(
    key_file: Annotated[Path, typer.Option(help="Where the keys are written, closed to others.")] = Path(
        "first-keys.json"
    ),
    sample: Annotated[bool, typer.Option(help="Also import and activate a sample pack.")] = True,
) -> None:
    """Prepare a server's database, and make the first tenant with its keys. Running it again does no harm.

    While the keys in KEY_FILE are valid, nothing is made anew. `sentinai up` does this by itself.
    """
    with told_plainly():
        import asyncio

        if asyncio.run(_setup(load_settings(), key_file, sample)):
            console.print(f"The keys of tenant {SAMPLE_TENANT} are in {key_file}. Keep them, and keep them secret.")
        else:
            console.print(f"There is nothing to do: the keys in {key_file} are valid.")


async def _setup(settings: Settings, key_file: Path, sample: bool) -> bool:
    """Whether keys were made."""
    from sentinai.bootstrap import build_commands, opened, prepare_database
    from sentinai.infrastructure.database import OWNER
    from sentinai.services.rebase import require_own_cluster
    from sentinai.services.setup import first_keys, install_packs

    url = required_url(settings)
    for finding in await prepare_database(url, settings):
        errors.print(f"[yellow]![/] {finding}")
    async with opened(url, OWNER) as owner:
        await require_own_cluster(owner)
        commands = build_commands(owner)
        if key_file.is_file() and await _still_valid(owner, key_file):
            return False
        keys = await first_keys(commands, SAMPLE_TENANT)
        if sample:
            from sentinai.cli.samples import sample_domain

            found = sample_domain(SAMPLE_DOMAIN)
            await install_packs(commands, SAMPLE_TENANT, found.domain, found.policies[SAMPLE_TENANT])
    key_file.parent.mkdir(parents=True, exist_ok=True)
    key_file.touch(mode=0o600)
    key_file.write_text(json.dumps(keys._asdict()))
    return True


async def _still_valid(owner: Any, key_file: Path) -> bool:
    from sentinai.infrastructure.repositories.api_keys import still_held
    from sentinai.security.api_keys import hash_api_key

    digest = hash_api_key(json.loads(key_file.read_text())["key"])
    async with owner.transaction() as tx:
        return bool(await still_held(tx, [digest]))


def _run_up(settings: Settings, ready_file: Path | None, sample: bool) -> None:
    import subprocess

    from sentinai.cli.supervisor import Supervisor

    if ready_file is not None:
        ready_file.unlink(missing_ok=True)
    _require_free_port(settings)
    environment = dict(os.environ)
    if sample:
        allowed = [*settings.tool_allowed_hosts, f"127.0.0.1:{SAMPLE_TOOLS_PORT}"]
        environment["SENTINAI_TOOL_ALLOWED_HOSTS"] = ",".join(allowed)
    supervisor = Supervisor(settings, environment, lambda line: errors.print(f"[yellow]•[/] {line}"))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: setattr(supervisor, "stopping", True))
    tools = _start_tools() if sample else None
    try:
        console.print("Starting the database …")
        supervisor.start_database()
        key_file = settings.data_dir / KEY_FILE
        command = [sys.executable, "-m", "sentinai.cli.main", "setup", "--key-file", str(key_file)]
        done = subprocess.run(
            [*command, "--sample" if sample else "--no-sample"], env=environment, stdout=subprocess.DEVNULL, check=False
        )
        if done.returncode:
            raise Rejected("The database could not be prepared; the reason stands above.")
        supervisor.start_processes()
        supervisor.await_ready()
        if not supervisor.stopping:
            _announce(settings, json.loads(key_file.read_text()), ready_file)
        supervisor.watch()
    finally:
        console.print("Stopping …")
        supervisor.stop()
        if tools is not None:
            tools.stop()
        console.print("Stopped. The data stays where it is; `up` goes on from there.")


def _start_tools() -> Any:
    """The sample domains' tools; without their port the samples' tool calls fail, and all else works."""
    from sentinai.cli.tool_server import ToolServer

    try:
        tools = ToolServer("127.0.0.1", SAMPLE_TOOLS_PORT)
    except OSError:
        errors.print(f"[yellow]•[/] port {SAMPLE_TOOLS_PORT} is taken: the sample tools do not run here")
        return None
    tools.start()
    return tools


def _announce(settings: Settings, keys: dict[str, str], ready_file: Path | None) -> None:
    url = f"http://{settings.api_host}:{settings.api_port}"
    body = '{"source_system": "psp", "payload": {"id": "pay_1", "amount": 4200, "code": "card_declined"}}'
    console.print(f"\n[bold green]SentinAI is running.[/]  API [bold]{url}[/]\n(documentation: [bold]{url}/docs[/])")
    console.print(f"Tenant [bold]{keys['tenant_id']}[/]. Its admin key (keep it secret):\n", highlight=False)
    print(f"  {keys['key']}\n")
    console.print("Report an exception, then look at it under the Location it answers with:\n")
    print(
        f"  curl -i {url}/exceptions -H 'X-API-Key: {keys['key']}' \\\n    -H 'Content-Type: application/json' -d '{body}'\n"
    )
    path = settings.data_dir / KEY_FILE
    console.print(
        f"Further keys (approver, platform administrator) are in {path}. Ctrl-C stops everything.\n", highlight=False
    )
    if ready_file is not None:
        temporary = ready_file.with_name(ready_file.name + ".part")
        temporary.write_text(json.dumps({"url": url, "tenant": keys["tenant_id"], "key": keys["key"]}))
        temporary.replace(ready_file)


def _require_free_port(settings: Settings) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.api_host, settings.api_port))
        except OSError as error:
            raise Rejected(
                f"{settings.api_host}:{settings.api_port} is taken ({error.strerror}). "
                "Stop what listens there, or set SENTINAI_API_PORT."
            ) from error


def required_url(settings: Settings) -> str:
    """The configured database, or the embedded one of a running `sentinai up`."""
    if settings.database_url:
        return settings.database_url
    from sentinai.infrastructure.embedded import EmbeddedServer

    server = EmbeddedServer(settings.data_dir)
    if server.pid is None:
        raise Rejected(
            "No database: set SENTINAI_DATABASE_URL, or run `sentinai up` in this folder first (it starts the embedded one)."
        )
    return server.start()
