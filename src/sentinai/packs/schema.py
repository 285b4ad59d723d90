"""What is the published JSON Schema of each kind of pack? Generated from the types in `model/`."""

from collections.abc import Mapping
from functools import cache
from typing import Literal, get_args, get_origin

import jsonschema_rs
import msgspec
from msgspec import NODEFAULT

from sentinai.models.json import Json
from sentinai.packs.annotated import described
from sentinai.packs.model.domain_pack import DomainPack
from sentinai.packs.model.policy_pack import TenantPolicyPack
from sentinai.packs.vocabulary import Vocabulary

Schema = dict[str, Json]

IDS: Mapping[type[msgspec.Struct], str] = {DomainPack: "domain-pack", TenantPolicyPack: "tenant-policy-pack"}
KINDS: Mapping[str, type[DomainPack] | type[TenantPolicyPack]] = {
    "DomainPack": DomainPack,
    "TenantPolicyPack": TenantPolicyPack,
}

_SIMPLE: Mapping[object, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


@cache
def published_schemas(vocabulary: Vocabulary) -> dict[str, Schema]:
    """The schemas by kind of pack."""
    return {kind: _published(kind, cached_schema(pack, vocabulary)) for kind, pack in KINDS.items()}


def schema_of(annotation: object, vocabulary: Vocabulary) -> Schema:
    """The schema of a type, written out without references; a field's sentence comes before its type's."""
    plain = described(annotation)
    schema = {**_form(plain.type, vocabulary), **plain.keywords}
    if plain.sentence:
        schema["description"] = plain.sentence
    if "const" in schema:
        del schema["type"]
    _name_words(schema, vocabulary)
    return schema


@cache
def cached_schema(declared: type[msgspec.Struct], vocabulary: Vocabulary) -> Schema:
    return schema_of(declared, vocabulary)


@cache
def validator(declared: type[msgspec.Struct], vocabulary: Vocabulary) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(cached_schema(declared, vocabulary))


def _published(kind: str, schema: Schema) -> Schema:
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:sentinai:schema:{IDS[KINDS[kind]]}:1",
        "title": kind,
    }
    return head | schema


def _form(declared: object, vocabulary: Vocabulary) -> Schema:
    origin, arguments = get_origin(declared), get_args(declared)
    if declared is Json:
        return {}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": schema_of(arguments[0], vocabulary)}
    if origin is dict:
        return _mapping(arguments[0], arguments[1], vocabulary)
    if isinstance(declared, type) and issubclass(declared, msgspec.Struct):
        return _object(declared, vocabulary)
    return {"type": _SIMPLE[declared]}


def _mapping(keys: object, values: object, vocabulary: Vocabulary) -> Schema:
    schema: Schema = {"type": "object"}
    if described(values).type is not Json:
        schema["additionalProperties"] = schema_of(values, vocabulary)
    if keys is not str:
        schema["propertyNames"] = schema_of(keys, vocabulary)
    return schema


def _object(declared: type[msgspec.Struct], vocabulary: Vocabulary) -> Schema:
    fields = msgspec.structs.fields(declared)
    schema: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {field.encode_name: schema_of(field.type, vocabulary) for field in fields},
    }
    for field in fields:
        default = msgspec.to_builtins(field.default) if not field.required and field.default is not NODEFAULT else None
        if default not in (None, "", {}, ()):
            schema["properties"][field.encode_name]["default"] = default
    required = [field.encode_name for field in fields if field.required]
    return {**schema, **({"required": required} if required else {}), "description": declared.__doc__ or ""}


def _name_words(schema: Schema, vocabulary: Vocabulary) -> None:
    """A name from the vocabulary: providers as the only values, actions in the sentence."""
    of = schema.pop("vocabulary", None)
    if of == "providers":
        schema.pop("type")
        schema["enum"] = [word.name for word in vocabulary.providers]
    elif of == "actions":
        schema["description"] += ": " + ", ".join(word.name for word in vocabulary.actions)
