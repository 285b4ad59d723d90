"""Another tenant's objects do not exist: over every route that there is, and with row-level security as the only wall."""

import re
from typing import Any
from uuid import uuid4

import pytest
from system import System, query

from sentinai.bootstrap import opened
from sentinai.infrastructure.database import API

BODIES: dict[str, Any] = {
    "reason": "x",
    "text": "x",
    "owner": "x",
    "comment": "x",
    "enabled": True,
    "input": {},
    "definition": {"provider": "log", "inputSchema": {}},
    "name": "x",
    "role": "viewer",
    "tenant_id": "gamma",
    "domain": "payments",
    "domain_version": "1.0.0",
    "policy_version": "1.0.0",
    "consumer": "intake",
    "queue": "x",
    "output": {},
    "dry_run": True,
    "step": "1",
}
OPEN = {"/health/live", "/health/ready", "/metrics"}
PLATFORM_ONLY = ("/tenants",)


async def secrets_of_acme(system: System) -> dict[str, str]:
    """One id of everything that acme has."""
    waiting = await system.settled({"id": f"iso-{uuid4()}", "amount": 1, "code": "chargeback"})
    await system.settled({"id": f"iso-{uuid4()}", "amount": 1, "code": "refund_stuck"})
    execution = (await system.get("/tools/executions"))["items"][0]
    await query(
        system.url,
        """insert into parked select tenant_id, 'intake', stream, 1, event_id, type, 'dead', 1, null, 'Rejected', 'x', now()
           from event where tenant_id = 'acme' and type = 'ExceptionIngested' limit 1 on conflict do nothing""",
    )
    letter = (await system.get("/dead-letters"))["items"][0]
    await system.client().post(
        "/tools", json={"name": "acmeTool", "definition": {"provider": "log", "inputSchema": {}}}
    )
    await system.client().put("/tools/acmeTool/enablement", json={"enabled": True})
    key = (await system.get("/api-keys"))["items"][0]
    return {
        "exception_id": waiting["exception_id"],
        "approval_id": waiting["approval_id"],
        "execution_id": execution["execution_id"],
        "dead_letter_id": letter["dead_letter_id"],
        "tool_id": "acmeTool",
        "key_id": key["key_id"],
        "step": "1",
        "kind": "domain",
        "domain": "payments-of-acme",
        "version": "1.0.0",
        "tenant_id": "acme",
    }


def operations(system: System) -> list[tuple[str, str, Any]]:
    """(method, path, operation) of every route in the OpenAPI document."""
    document = system.app.openapi()
    return [(m.upper(), path, op) for path, methods in document["paths"].items() for m, op in methods.items()]


def body_for(system: System, operation: Any) -> Any:
    """A body that is valid as far as its schema says, so that only the id is wrong."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    if not name:
        return None
    wanted = system.app.openapi()["components"]["schemas"][name].get("required", [])
    return {field: BODIES[field] for field in wanted}


async def test_another_tenants_ids_are_nowhere(system: System) -> None:
    ids = await secrets_of_acme(system)
    before = await query(system.url, "select count(*) from event where tenant_id = 'acme'")
    tried = 0
    for method, path, operation in operations(system):
        names = re.findall(r"{(\w+)}", path)
        if path in OPEN or path.startswith(PLATFORM_ONLY) or not names:
            continue
        address = path.format(**{name: ids[name] for name in names})
        answer = await system.client(tenant="beta").request(method, address, json=body_for(system, operation))
        assert answer.status_code == 404, (method, address, answer.status_code, answer.text)
        tried += 1
    assert tried >= 20
    assert await query(system.url, "select count(*) from event where tenant_id = 'acme'") == before


async def test_lists_of_another_tenant_hold_nothing_of_the_first(system: System) -> None:
    ids = await secrets_of_acme(system)
    needles = [ids[name] for name in ("exception_id", "approval_id", "execution_id", "dead_letter_id", "key_id")]
    for method, path, _ in operations(system):
        if method == "GET" and "{" not in path and path not in OPEN:
            answer = await system.client(tenant="beta").get(path)
            assert answer.status_code in (200, 403), (path, answer.text)
            assert not [n for n in needles if n in answer.text], path
            assert "acme" not in answer.text, path


async def test_every_route_but_the_open_ones_needs_a_key(system: System) -> None:
    for method, path, operation in operations(system):
        if path in OPEN:
            continue
        address = re.sub(r"{\w+}", "00000000-0000-7000-8000-000000000000", path)
        answer = await system.client().request(
            method, address, json=body_for(system, operation), headers={"X-API-Key": ""}
        )
        assert answer.status_code == 401, (method, path, answer.status_code)


async def test_row_level_security_alone_hides_the_first_tenant(system: System) -> None:
    await secrets_of_acme(system)
    tables = await query(
        system.url,
        """select table_name from information_schema.columns c join information_schema.tables t using (table_name)
           where c.column_name = 'tenant_id' and c.table_schema = 'public' and t.table_type = 'BASE TABLE'""",
    )
    assert len(tables) >= 12
    out_of_reach = {"dedup", "tenant_cursor"}
    async with opened(system.url, API) as database:
        for (table,) in tables:
            if table in out_of_reach:
                right = await query(system.url, f"select has_table_privilege('sentinai_api', '{table}', 'select')")
                assert not right[0][0], table
                continue
            seen = await query(system.url, f"select count(*) from {table} where tenant_id = 'acme'")
            assert seen[0][0] > 0, table
            async with database.transaction("beta") as tx:
                assert await tx.fetchval(f"select count(*) from {table} where tenant_id = 'acme'") == 0, table


@pytest.mark.parametrize("statement", ["update event set actor = 'x'", "delete from event", "truncate event"])
@pytest.mark.parametrize("role", ["sentinai_api", "sentinai_worker", "sentinai_ingest"])
async def test_no_role_of_the_application_changes_the_log(system: System, role: str, statement: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(system.url, server_settings={"role": role})
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_ingestion_can_only_insert(system: System) -> None:
    import asyncpg

    connection = await asyncpg.connect(system.url, server_settings={"role": "sentinai_ingest"})
    try:
        for table in ("event", "exception", "api_key", "tenant"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"select * from {table} limit 1")
    finally:
        await connection.close()
