"""`sentinai tenants`, `keys`, `packs` and `dead-letters`: configure and repair from a terminal."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from sentinai.cli.client import Client
from sentinai.cli.output import console, pick, table, told_plainly
from sentinai.errors import Rejected
from sentinai.models.json import Json
from sentinai.orchestrator.cases import run_cases
from sentinai.packs.check import check_pair, load
from sentinai.packs.compile import compile_pair
from sentinai.packs.document import PackDocument
from sentinai.packs.schema import published_schemas
from sentinai.services.vocabulary import VOCABULARY
from sentinai.tools.gate import refusal

tenants = typer.Typer(no_args_is_help=True, help="Create, list and suspend tenants (platform administrator's key).")
keys = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")
packs = typer.Typer(no_args_is_help=True, help="Validate, test, import and activate packs.")
dead_letters = typer.Typer(no_args_is_help=True, help="List, show, retry and discard dead letters.")

PackFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="YAML or JSON.")]
PolicyFile = Annotated[
    Path | None, typer.Option("--policy", exists=True, dir_okay=False, help="The tenant's policy to test with.")
]
_NO_POLICY = """kind: TenantPolicyPack
schemaVersion: 1
tenantId: trial
domainName: {domain}
version: 1.0.0
approvedTools: [{tools}]
"""


@tenants.command("create")
def create_tenant(tenant_id: str, name: Annotated[str, typer.Option(help="What people call it.")] = "") -> None:
    """Create a tenant and an admin key for it."""
    with told_plainly():
        client = Client("platform_key")
        client.post("/tenants", {"tenant_id": tenant_id, "name": name or tenant_id})
        created = client.post("/api-keys", {"name": "first admin key", "role": "admin", "tenant_id": tenant_id})
        console.print(f"Tenant {tenant_id} is there. Its admin key, shown this once:")
        print(created["key"])


@tenants.command("list")
def list_tenants() -> None:
    """All tenants."""
    with told_plainly():
        columns = ["tenant_id", "name", "suspended", "created_at"]
        table("Tenants", columns, pick(Client("platform_key").get("/tenants", limit=200)["items"], columns))


@tenants.command("suspend")
def suspend_tenant(tenant_id: str, reason: Annotated[str, typer.Option()]) -> None:
    """Refuse all of a tenant's keys, at once."""
    with told_plainly():
        Client("platform_key").post(f"/tenants/{tenant_id}/suspend", {"reason": reason})
        console.print(f"Tenant {tenant_id} is suspended.")


@tenants.command("resume")
def resume_tenant(tenant_id: str, reason: Annotated[str, typer.Option()]) -> None:
    """Accept a suspended tenant's keys again."""
    with told_plainly():
        Client("platform_key").post(f"/tenants/{tenant_id}/resume", {"reason": reason})
        console.print(f"Tenant {tenant_id} is active again.")


@keys.command("create")
def create_key(
    name: str,
    role: Annotated[str, typer.Option()] = "viewer",
    subject: Annotated[str | None, typer.Option(help="Who holds it; a person's second key names the same.")] = None,
    expires_at: datetime | None = None,
) -> None:
    """Create a key of the own tenant; its secret is shown this once."""
    with told_plainly():
        expires = expires_at.astimezone().isoformat() if expires_at else None
        body = {"name": name, "role": role, "expires_at": expires, "subject": subject}
        created = Client().post("/api-keys", body)
        console.print(f"Key {created['key_id']}, shown this once:")
        print(created["key"])


@keys.command("list")
def list_keys() -> None:
    """The tenant's keys, without their secrets."""
    with told_plainly():
        columns = ["key_id", "name", "role", "subject", "hint", "expires_at", "revoked_at"]
        table("API keys", columns, pick(Client().get("/api-keys")["items"], columns))


@keys.command("revoke")
def revoke_key(key_id: str) -> None:
    """Refuse a key from now on."""
    with told_plainly():
        Client().call("DELETE", f"/api-keys/{key_id}")
        console.print(f"Key {key_id} is revoked.")


@packs.command("validate")
def validate(file: PackFile) -> None:
    """Check a pack; every problem is reported at once, with line and column."""
    with told_plainly():
        document = load(file.read_bytes(), VOCABULARY)
        console.print(f"[green]✓[/] {document.kind} {document.name} {document.version} holds together.")


@packs.command("schema")
def schema(kind: Annotated[str, typer.Argument(help="DomainPack or TenantPolicyPack.")] = "DomainPack") -> None:
    """Print the JSON Schema of a kind of pack; most editors can use it."""
    with told_plainly():
        schemas = published_schemas(VOCABULARY)
        if kind not in schemas:
            raise Rejected(f"There is no {kind!r}; there are {', '.join(schemas)}.")
        print(msgspec.json.format(msgspec.json.encode(schemas[kind])).decode())


@packs.command("test")
def run_tests(file: PackFile, policy: PolicyFile = None) -> None:
    """Run a domain pack's own test suites, without a server."""
    with told_plainly():
        domain = load(file.read_bytes(), VOCABULARY)
        config = compile_pair(domain.content, _policy_for(domain, policy).content)
        results = run_cases(config, domain.content, refusal)
        rows = [(r.suite, r.case, "passed" if r.passed else "; ".join(r.differences)) for r in results]
        if not rows:
            raise Rejected("There are no cases: write some under testSuites (docs/packs.md has one).")
        table(f"Tests of {domain.name} {domain.version}", ("suite", "case", "result"), rows)
        failed = sum(not r.passed for r in results)
        if failed:
            raise Rejected(f"{failed} of {len(results)} cases failed.")
        console.print(f"[green]✓[/] {len(results)} of {len(results)} cases passed.")


@packs.command("import")
def import_pack(file: PackFile) -> None:
    """Import a pack for the key's tenant."""
    with told_plainly():
        document = load(file.read_bytes(), VOCABULARY)
        path = "domain" if document.kind == "DomainPack" else "policy"
        Client().call("POST", f"/packs/{path}", content=file.read_bytes())
        console.print(f"[green]✓[/] {document.kind} {document.name} {document.version} is imported.")


@packs.command("activate")
def activate(domain: str, domain_version: str, policy_version: str) -> None:
    """Make a pair of versions the active one of its domain."""
    with told_plainly():
        pair = {"domain": domain, "domain_version": domain_version, "policy_version": policy_version}
        accepted = Client().post("/packs/activate", pair)
        console.print(f"[green]✓[/] {domain} is active under configuration {accepted['config_hash'][:12]}.")


@dead_letters.command("list")
def list_dead_letters(consumer: str | None = None, error: str | None = None) -> None:
    """Events that need a person."""
    with told_plainly():
        columns = ["dead_letter_id", "consumer", "type", "attempts", "error", "message"]
        page = Client().get("/dead-letters", consumer=consumer, error=error)
        table("Dead letters", columns, pick(page["items"], columns))


@dead_letters.command("show")
def show_dead_letter(dead_letter_id: str) -> None:
    """One dead letter."""
    with told_plainly():
        found: dict[str, Json] = Client().get(f"/dead-letters/{dead_letter_id}")
        table(f"Dead letter {dead_letter_id}", ["", ""], list(found.items()))


@dead_letters.command("retry")
def retry(
    dead_letter_id: Annotated[str | None, typer.Argument()] = None,
    consumer: str | None = None,
    error: str | None = None,
    type: str | None = None,
    all: bool = False,
    yes: Annotated[bool, typer.Option(help="Do it; without this, many are only previewed.")] = False,
) -> None:
    """Have one event handled again, or all that a filter selects."""
    with told_plainly():
        client = Client()
        if dead_letter_id is not None:
            client.post(f"/dead-letters/{dead_letter_id}/retry")
            console.print("It is handled again.")
            return
        wanted = {"consumer": consumer, "error": error, "type": type, "all": all, "dry_run": not yes}
        found = client.post("/dead-letters/retry", wanted)["dead_letter_ids"]
        console.print(f"{len(found)} {'are handled again' if yes else 'would be handled again (add --yes)'}.")


@dead_letters.command("discard")
def discard(dead_letter_id: str, reason: Annotated[str, typer.Option()]) -> None:
    """Give an event up; the reason stays on record."""
    with told_plainly():
        Client().post(f"/dead-letters/{dead_letter_id}/discard", {"reason": reason})
        console.print("It is discarded.")


def _policy_for(domain: PackDocument, policy: Path | None) -> PackDocument:
    """The given policy; without one, a policy that approves every tool of the domain."""
    if policy is None:
        return load(_NO_POLICY.format(domain=domain.name, tools=", ".join(domain.content.get("tools", {}))), VOCABULARY)
    document = load(policy.read_bytes(), VOCABULARY)
    problems = check_pair(domain.content, document.content, VOCABULARY)
    if problems:
        raise Rejected("The policy does not fit the domain.", problems=problems)
    return document
