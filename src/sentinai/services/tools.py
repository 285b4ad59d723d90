"""How are tools registered, switched on and off, and called by an authorised person?"""

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from sentinai.errors import Conflict, Missing, Rejected
from sentinai.events.config import ToolDisabled, ToolEnabled, ToolRegistered, ToolUpdated
from sentinai.events.envelope import Body
from sentinai.events.tool import ToolExecutionRequested
from sentinai.infrastructure.database import Connection
from sentinai.infrastructure.repositories.executions import ExecutionRepository
from sentinai.infrastructure.repositories.tenants import bump_config_version
from sentinai.infrastructure.repositories.tools import DeclaredTool, Switch, ToolRepository
from sentinai.messaging.publisher import wake
from sentinai.models.json import Json
from sentinai.orchestrator.recording import StreamKey
from sentinai.packs.check import check_tool
from sentinai.packs.content_hash import content_hash
from sentinai.security.masking import redact_pii
from sentinai.security.roles import Principal
from sentinai.services.recording import Commands, actor, record_configuration
from sentinai.services.vocabulary import VOCABULARY
from sentinai.tools.gate import check_input

__all__ = ["Switch", "execute", "register", "set_enabled", "update"]


async def register(
    commands: Commands, tools: ToolRepository, principal: Principal, name: str, definition: Mapping[str, Json]
) -> None:
    """Raises Conflict when the tenant has a tool of that name, Rejected when the declaration does not hold."""
    _require_valid(name, definition)
    async with commands.database.transaction(principal.tenant_id) as tx:
        try:
            await tools.find(tx, principal.tenant_id, name)
        except Missing:
            await _save(commands, tools, tx, _Declared(principal.tenant_id, name, definition))
            await _record(commands, tx, principal, name, ToolRegistered(name, definition))
            return
        raise Conflict(f"There is a tool {name!r} already; change it with PUT.", tool=name)


async def update(
    commands: Commands, tools: ToolRepository, principal: Principal, tool_id: str, definition: Mapping[str, Json]
) -> None:
    """Replace the declaration. A pack's tool is changed by a new version of the pack: Conflict."""
    _require_valid(tool_id, definition)
    async with commands.database.transaction(principal.tenant_id) as tx:
        known = await tools.find(tx, principal.tenant_id, tool_id)
        if known["domain"] is not None:
            raise Conflict("The tool belongs to a pack; activate a new version of the pack instead.", tool=tool_id)
        await _save(commands, tools, tx, _Declared(principal.tenant_id, tool_id, definition))
        await _record(commands, tx, principal, tool_id, ToolUpdated(tool_id, definition))


async def set_enabled(
    commands: Commands, tools: ToolRepository, principal: Principal, tool_id: str, switch: Switch
) -> None:
    """Off: no call starts from this commit on, whatever playbook asks for it."""
    async with commands.database.transaction(principal.tenant_id) as tx:
        await tools.find(tx, principal.tenant_id, tool_id)
        await tools.set_enabled(tx, principal.tenant_id, tool_id, switch, commands.clock())
        await bump_config_version(tx, principal.tenant_id)
        body = ToolEnabled(tool_id) if switch.enabled else ToolDisabled(tool_id, switch.reason or "no reason given")
        await _record(commands, tx, principal, tool_id, body)


async def execute(
    commands: Commands, tools: ToolRepository, principal: Principal, tool_id: str, content: dict[str, Json]
) -> UUID:
    """Have a registered tool called once, outside any playbook; returns the execution's id.

    Raises Missing, Denied when it is disabled, Rejected when the input does not fit its schema.
    """
    async with commands.database.transaction(principal.tenant_id) as tx:
        known = await tools.find(tx, principal.tenant_id, tool_id)
        if known["domain"] is not None:
            raise Conflict("A pack's tool runs in playbooks only; register it by itself to call it.", tool=tool_id)
        check_input(await tools.registered(tx, principal.tenant_id, tool_id), content)
        execution_id = commands.new_id()
        body = ToolExecutionRequested(execution_id, tool_id, redact_pii(content))
        key = StreamKey(principal.tenant_id, f"tenant/execution/{execution_id}")
        await record_configuration(commands, tx, key, actor(principal), body)
        await ExecutionRepository().accept(tx, [(principal.tenant_id, execution_id)], commands.clock())
        await wake(tx)
    return execution_id


def _require_valid(name: str, definition: Mapping[str, Json]) -> None:
    problems = check_tool(name, definition, VOCABULARY)
    if problems:
        raise Rejected("The tool's declaration does not hold; see errors.", problems=problems)


class _Declared(NamedTuple):
    """A tool's declaration, and whose it is."""

    tenant_id: str
    tool_id: str
    definition: Mapping[str, Json]


async def _save(commands: Commands, tools: ToolRepository, tx: Connection, declared: _Declared) -> None:
    declaration = DeclaredTool(declared.definition, content_hash(declared.definition))
    await tools.save(tx, declared.tenant_id, declared.tool_id, declaration, commands.clock())


async def _record(commands: Commands, tx: Connection, principal: Principal, tool_id: str, body: Body) -> None:
    key = StreamKey(principal.tenant_id, f"tenant/tool/{tool_id}")
    await record_configuration(commands, tx, key, actor(principal), body)
