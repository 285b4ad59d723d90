"""May this tool be called with this input, and is its answer what it promised?"""

from collections.abc import Mapping
from functools import lru_cache
from itertools import islice

import jsonschema_rs
import msgspec

from sentinai.errors import Denied, Missing, Problem, Rejected
from sentinai.events.tool import ToolExecutionRequested
from sentinai.models.json import Json
from sentinai.packs.effective import EffectiveConfig, TenantConfiguration, Tool
from sentinai.packs.json_schema import compile_schema
from sentinai.packs.pointer import pointer_part
from sentinai.security.masking import redact_pii

PROBLEMS_MAX = 50
DETAIL_CHARS_MAX = 300


def tool_of(config: EffectiveConfig | None, tenant: TenantConfiguration, request: ToolExecutionRequested) -> Tool:
    """The tool that a step asks for. Raises Missing, Denied or Rejected where it may not be called with this input."""
    if config is None or request.tool not in config.tools:
        raise Missing(f"no tool {request.tool!r} in the exception's configuration", tool=request.tool)
    enabled = f"{config.domain}.{request.tool}" not in tenant.disabled_tools
    check_allowed(request.tool, config.approved_tools, enabled)
    check_input(config.tools[request.tool], request.input)
    return config.tools[request.tool]


def refusal(config: EffectiveConfig | None, tenant: TenantConfiguration, request: ToolExecutionRequested) -> str | None:
    """Why the tool may not be called with this input, in one line; None if it may."""
    try:
        tool_of(config, tenant, request)
    except (Missing, Denied, Rejected) as error:
        return "; ".join([error.message, *(f"{p.pointer}: {p.detail}" for p in error.problems)])
    return None


def check_allowed(tool: str, approved: frozenset[str], enabled: bool) -> None:
    """Raises Denied unless the tenant's policy approves the tool and nobody switched it off."""
    if tool not in approved:
        raise Denied(f"tool {tool!r} is not approved by the tenant's policy", tool=tool)
    if not enabled:
        raise Denied(f"tool {tool!r} is disabled", tool=tool)


def check_input(tool: Tool, content: Json) -> None:
    """Raises Rejected, with pointers, for an input that does not fit the schema."""
    _check(tool.input_schema, content, f"the input of tool {tool.name!r} does not fit its schema")


def check_output(tool: Tool, content: Json) -> None:
    """Raises Rejected, with pointers, for an answer that does not fit the schema."""
    if tool.output_schema is not None:
        _check(tool.output_schema, content, f"the answer of tool {tool.name!r} does not fit its schema")


def _check(schema: Mapping[str, Json], content: Json, message: str) -> None:
    validator = _validator(msgspec.json.encode(schema, order="sorted"))
    try:
        if validator.is_valid(content):
            return
        problems = [_problem(error) for error in islice(validator.iter_errors(content), PROBLEMS_MAX)]
    except (ValueError, RecursionError) as error:  # the library goes 255 levels deep
        raise Rejected(f"{message}: it is nested too deep, or holds what is no JSON, and cannot be checked") from error
    raise Rejected(message, problems=problems)


def _problem(error: jsonschema_rs.ValidationError) -> Problem:
    """Where and what; the library quotes values, which may be anybody's."""
    pointer = "".join(pointer_part(part) for part in error.instance_path)
    return Problem(str(redact_pii(pointer)), str(redact_pii(error.message))[:DETAIL_CHARS_MAX])


@lru_cache(maxsize=2_000)
def _validator(schema: bytes) -> jsonschema_rs.Validator:
    """By the schema's bytes: the same declaration is compiled once, whichever configuration it came with."""
    return compile_schema(msgspec.json.decode(schema))
