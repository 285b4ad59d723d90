"""What is the published JSON Schema of each kind of pack, and does a document fit it?"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import jsonschema_rs
import msgspec

from sentinai.errors import Problem
from sentinai.packs.pointer import pointer_part

FILES = {"DomainPack": "domain_pack.schema.json", "TenantPolicyPack": "tenant_policy_pack.schema.json"}
NOT_YET = "is not supported in schemaVersion 1 yet"
LATER = frozenset({"timeout", "retry", "compensate", "wait"})
"""Keys of a step that the format reserves."""

_OF_CONTAINER = frozenset(
    {"Required", "PropertyNames", "MinItems", "MaxItems", "MinProperties", "MaxProperties", "UniqueItems"}
)
Path = tuple[str | int, ...]


class Violation(NamedTuple):
    """What does not fit the schema; `broken` says that the value itself is unusable, not just something inside it."""

    path: Path
    detail: str
    broken: bool

    @property
    def pointer(self) -> str:
        return "".join(map(pointer_part, self.path))


@cache
def published_schemas() -> dict[str, Any]:
    """The schemas by kind of pack."""
    folder = files("sentinai.packs") / "schemas"
    return {kind: msgspec.json.decode((folder / name).read_bytes()) for kind, name in FILES.items()}


def violations(kind: str, content: Mapping[str, Any]) -> list[Violation]:
    """Everything that does not fit the schema of this kind of pack."""
    schema = published_schemas()[kind]
    return [found for error in _validator(kind).iter_errors(content) for found in _violations(error, schema)]


def tool_problems(definition: Any) -> list[Problem]:
    """What does not fit of one tool's declaration."""
    schema = _tool_schema()
    errors = jsonschema_rs.validator_for(schema).iter_errors(definition)
    return [Problem("/definition" + v.pointer, v.detail) for error in errors for v in _violations(error, schema)]


@cache
def _validator(kind: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(published_schemas()[kind])


def _tool_schema() -> Any:
    return published_schemas()["DomainPack"]["properties"]["tools"]["additionalProperties"]


def _violations(error: jsonschema_rs.ValidationError, schema: Any) -> Iterator[Violation]:
    path, kind = tuple(error.instance_path), error.kind
    match kind:
        case jsonschema_rs.ValidationErrorKind.AdditionalProperties():
            for name in kind.unexpected:
                known = ", ".join(sorted(_part(schema, error.schema_path[:-1]).get("properties", {})))
                later = name in LATER and len(path) > 1 and path[-2] == "steps"
                detail = f"`{name}` {NOT_YET}" if later else f"there is no `{name}` here; there are {known}"
                yield Violation((*path, name), detail, broken=True)
        case _:
            yield Violation(path, _detail(error, schema), type(kind).__name__ not in _OF_CONTAINER)


def _detail(error: jsonschema_rs.ValidationError, schema: Any) -> str:
    if '"COMPENSATE"' in error.message:
        return f"{error.message}; COMPENSATE {NOT_YET}"
    description = _part(schema, error.schema_path[:-1]).get("description") if error.instance_path else None
    return f"{error.message} — {description}" if description else error.message


def _part(schema: Any, path: list[Any]) -> Mapping[str, Any]:
    for key in path:
        schema = schema[key]
    return schema if isinstance(schema, dict) else {}
