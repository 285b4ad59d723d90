"""May this tool be called with this input, and is its answer what it promised?"""

from functools import lru_cache
from typing import Any

import msgspec

from sentinai.errors import Denied, Problem, Rejected
from sentinai.packs.effective import Tool
from sentinai.packs.json_schema import compile_schema

PROBLEMS_MAX = 50


def check_allowed(tool: str, approved: frozenset[str], enabled: bool) -> None:
    """Raises Denied unless the tenant's policy approves the tool and nobody switched it off."""
    if tool not in approved:
        raise Denied(f"tool {tool!r} is not approved by the tenant's policy", tool=tool)
    if not enabled:
        raise Denied(f"tool {tool!r} is disabled", tool=tool)


def check_input(tool: Tool, content: Any) -> None:
    """Raises Rejected, with pointers, for an input that does not fit the schema."""
    _check(tool.input_schema, content, f"the input of tool {tool.name!r} does not fit its schema")


def check_output(tool: Tool, content: Any) -> None:
    """Raises Rejected, with pointers, for an answer that does not fit the schema."""
    if tool.output_schema is not None:
        _check(tool.output_schema, content, f"the answer of tool {tool.name!r} does not fit its schema")


def _check(schema: Any, content: Any, message: str) -> None:
    errors = _validator(msgspec.json.encode(schema, order="sorted")).iter_errors(content)
    problems = [Problem("".join(f"/{part}" for part in e.instance_path), e.message) for e in errors][:PROBLEMS_MAX]
    if problems:
        raise Rejected(message, problems=problems)


@lru_cache(maxsize=2_000)
def _validator(schema: bytes) -> Any:
    return compile_schema(msgspec.json.decode(schema))
