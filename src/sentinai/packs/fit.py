"""Which parts of a document fit its type, and what is to be said about the others?

The generated schema finds everything at once. What does not fit is left out alone, so that the rest can be looked at
more closely: an optional field, or else the entry (a rule, step, tool, type) that cannot do without it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import jsonschema_rs
import msgspec

from sentinai.models.json import Json
from sentinai.packs.content import Content
from sentinai.packs.places import Places
from sentinai.packs.pointer import pointer_part
from sentinai.packs.schema import Schema, cached_schema, validator
from sentinai.packs.vocabulary import Vocabulary

NOT_YET = "is not supported in schemaVersion 1 yet"
LATER = frozenset({"timeout", "retry", "compensate", "wait"})
"""Keys of a step that the format reserves."""

D = TypeVar("D", bound=msgspec.Struct)
Path = tuple[str | int, ...]

_OF_CONTAINER = frozenset({"PropertyNames", "MinItems", "MaxItems", "MinProperties", "MaxProperties", "UniqueItems"})
"""The list or mapping is wrong, but each of its entries may be right."""
_OF_CONSTRAINT = frozenset({"Pattern", "MinLength", "MaxLength"})
"""The value is text, as it has to be."""
_BLANK = {"string": "", "object": {}, "array": []}


class Violation(NamedTuple):
    """What does not fit the schema."""

    path: Path
    detail: str
    missing: str | None = None
    """A required field that is not there."""
    unusable: bool = False
    """The value cannot be read as its type."""
    amiss: bool = True
    """The value itself is wrong, not only how many entries or which keys it has."""

    @property
    def pointer(self) -> str:
        return pointer_to(self.path)

    @property
    def about(self) -> Path:
        return self.path if self.missing is None else (*self.path, self.missing)


def pointer_to(path: Path) -> str:
    return "".join(map(pointer_part, path))


@dataclass(frozen=True, slots=True)
class Fit(Generic[D]):
    """`document` holds what fits; `places` know where it stood and what is missing around it."""

    document: D
    violations: list[Violation]
    places: Places


def fit(declared: type[D], content: Content, vocabulary: Vocabulary) -> Fit[D]:
    """What the document as a whole needs and lacks is taken as empty."""
    found, schema = violations(declared, content, vocabulary), cached_schema(declared, vocabulary)
    left_out: set[Path] = set()
    usable = dict(content)
    for violation in found:
        if violation.unusable or violation.missing is not None:
            path = _left_out(violation.about, schema)
            if len(path) == 1 and path[0] in schema["required"]:
                usable[str(path[0])] = _blank(schema["properties"][path[0]])
            else:
                left_out.add(path)
    usable = _without(usable, left_out)
    amiss = [pointer_to(v.about) for v in found if v.amiss]
    places = Places(amiss, map(pointer_to, left_out))
    return Fit(msgspec.convert(usable, declared, strict=False), found, places)


def _left_out(path: Path, schema: Schema) -> Path:
    """The nearest value around the one at `path` that can be left out."""
    while len(path) > 1 and path[-1] in _at(schema, path[:-1]).get("required", ()):
        path = path[:-1]
    return path


def _at(schema: Schema, path: Path) -> Schema:
    """The schema of the values at this path of a document."""
    for key in path:
        named: Schema = schema.get("properties", {})
        schema = schema["items"] if isinstance(key, int) else named.get(key) or schema["additionalProperties"]
    return schema


def _blank(schema: Schema) -> Json:
    return schema["const"] if "const" in schema else _BLANK[schema["type"]]


def _without(content: Json, left_out: set[Path]) -> Json:
    """A copy without the values at these paths; what has none of them below it is shared."""
    around = {path[:n] for path in left_out for n in range(len(path))}

    def kept(value: Json, path: Path) -> Json:
        if path not in around:
            return value
        if isinstance(value, dict):
            return {k: kept(v, (*path, k)) for k, v in value.items() if (*path, k) not in left_out}
        return [kept(v, (*path, n)) for n, v in enumerate(value) if (*path, n) not in left_out]

    return kept(content, ())


def violations(declared: type[msgspec.Struct], content: Json, vocabulary: Vocabulary) -> list[Violation]:
    """Everything that does not fit the schema of this type."""
    schema = cached_schema(declared, vocabulary)
    errors = validator(declared, vocabulary).iter_errors(content)
    return [found for error in errors for found in _violations(error, schema)]


def _violations(error: jsonschema_rs.ValidationError, schema: Schema) -> Iterator[Violation]:
    path, kind = tuple(error.instance_path), error.kind
    name = type(kind).__name__
    match kind:
        case jsonschema_rs.ValidationErrorKind.AdditionalProperties():
            for unknown in kind.unexpected:
                known = ", ".join(sorted(_part(schema, error.schema_path[:-1]).get("properties", {})))
                later = unknown in LATER and len(path) > 1 and path[-2] == "steps"
                detail = f"`{unknown}` {NOT_YET}" if later else f"there is no `{unknown}` here; there are {known}"
                yield Violation((*path, unknown), detail)
        case jsonschema_rs.ValidationErrorKind.Required():
            yield Violation(path, _detail(error, schema), missing=kind.property)
        case _:
            unusable = name not in _OF_CONTAINER and name not in _OF_CONSTRAINT
            yield Violation(path, _detail(error, schema), unusable=unusable, amiss=name not in _OF_CONTAINER)


def _detail(error: jsonschema_rs.ValidationError, schema: Schema) -> str:
    if '"COMPENSATE"' in error.message:
        return f"{error.message}; COMPENSATE {NOT_YET}"
    description = _part(schema, error.schema_path[:-1]).get("description") if error.instance_path else None
    return f"{error.message} — {description}" if description else error.message


def _part(schema: Json, path: list[str | int]) -> Schema:
    for key in path:
        schema = schema[key]
    return schema if isinstance(schema, dict) else {}
