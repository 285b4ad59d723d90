"""What is the published JSON Schema of each kind of pack, and does a document fit it?"""

from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema_rs
import msgspec

from sentinai.errors import Problem
from sentinai.packs.document import PackDocument

FILES = {"DomainPack": "domain_pack.schema.json", "TenantPolicyPack": "tenant_policy_pack.schema.json"}
LATER = {"wait": "`wait`", "timeout": "`timeout`", "compensate": "`compensate`", "retry": "`retry` of a step"}
"""Words of the format that schemaVersion 1 does not take yet."""


@cache
def published_schemas() -> dict[str, Any]:
    """The schemas by kind of pack."""
    folder = files("sentinai.packs") / "schemas"
    return {kind: msgspec.json.decode((folder / name).read_bytes()) for kind, name in FILES.items()}


@cache
def _validator(kind: str) -> Any:
    return jsonschema_rs.validator_for(published_schemas()[kind])


def schema_problems(document: PackDocument) -> list[Problem]:
    """Everything that does not fit the schema, each with its place."""
    problems = []
    for error in _validator(document.kind).iter_errors(document.content):
        pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in error.instance_path)
        problems.append(document.problem(pointer, _detail(error.message)))
    return problems


def tool_problems(definition: Any) -> list[Problem]:
    """What does not fit of one tool's declaration."""
    schema = published_schemas()["DomainPack"]["properties"]["tools"]["additionalProperties"]
    errors = jsonschema_rs.validator_for(schema).iter_errors(definition)
    return [Problem("/definition" + "".join(f"/{p}" for p in e.instance_path), e.message) for e in errors]


def _detail(message: str) -> str:
    for word, name in LATER.items():
        if f"'{word}' was unexpected" in message:
            return f"{message}; {name} is not supported in schemaVersion 1 yet"
    return f"{message}; COMPENSATE is not supported in schemaVersion 1 yet" if '"COMPENSATE"' in message else message
