"""Are the published schemas complete, and do their messages help?"""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from sample_packs import DOMAIN, policy_for

from sentinai.packs.document import parse
from sentinai.packs.fit import violations
from sentinai.packs.model.domain_pack import DomainPack
from sentinai.packs.schema import KINDS, published_schemas
from sentinai.services.vocabulary import VOCABULARY

SCHEMAS = published_schemas(VOCABULARY)


def _objects(schema: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("properties"):
            yield place, schema
        for name, inner in schema.get("properties", {}).items():
            yield from _objects(inner, f"{place}/{name}")
        for key in ("items", "additionalProperties"):
            yield from _objects(schema.get(key), f"{place}/*")


OBJECTS = [found for kind, schema in SCHEMAS.items() for found in _objects(schema, kind)]


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_published_schema_is_a_schema(kind: str) -> None:
    assert SCHEMAS[kind]["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema_rs.meta.validate(SCHEMAS[kind])


@pytest.mark.parametrize(("place", "schema"), OBJECTS, ids=[place for place, _ in OBJECTS])
def test_every_object_is_closed_and_every_field_described(place: str, schema: Any) -> None:
    assert schema["additionalProperties"] is False
    assert [name for name, field in schema["properties"].items() if not field.get("description")] == []


def _defaults(schema: Any) -> Iterator[tuple[str, Any]]:
    for name, field in (schema.get("properties") or {}).items():
        if "default" in field:
            yield name, field["default"]


def test_defaults_are_published() -> None:
    found = [default for _, schema in OBJECTS for default in _defaults(schema)]
    for default in (("confidence", 1.0), ("timeout", "10s"), ("firstDelay", "1s"), ("priority", 0), ("version", 1), ("mode", "auto"), ("onFailure", "ESCALATE"), ("method", "POST"), ("requireApproval", True), ("approvers", 1), ("onExpiry", "ESCALATE"), ("autoActionOnCritical", False)):  # fmt: skip
        assert default in found


def test_a_published_default_fits_its_own_field() -> None:
    for place, schema in OBJECTS:
        for name, default in _defaults(schema):
            assert jsonschema_rs.is_valid(schema["properties"][name], default), f"{place}/{name}"


@pytest.mark.parametrize("text", [DOMAIN, policy_for("acme")])
def test_a_good_pack_fits(text: str) -> None:
    document = parse(text)
    assert violations(KINDS[document.kind], document.content, VOCABULARY) == []


def _found(step: dict[str, Any]) -> list[tuple[str, str]]:
    content = parse(DOMAIN).content
    content["playbooks"] = [{"name": "a", "steps": [{"name": "b", "action": "add_comment", **step}]}]
    return [(v.pointer, v.detail) for v in violations(DomainPack, content, VOCABULARY)]


@pytest.mark.parametrize("key", ["timeout", "retry", "compensate", "wait"])
def test_a_key_of_the_future_is_said_to_be_one(key: str) -> None:
    assert _found({key: {}}) == [(f"/playbooks/0/steps/0/{key}", f"`{key}` is not supported in schemaVersion 1 yet")]


def test_compensation_is_said_to_be_of_the_future() -> None:
    assert "COMPENSATE is not supported in schemaVersion 1 yet" in _found({"onFailure": "COMPENSATE"})[0][1]


def test_a_constant_that_is_another_is_reported_once() -> None:
    content = parse(DOMAIN).content | {"schemaVersion": "one"}
    assert [v.pointer for v in violations(DomainPack, content, VOCABULARY)] == ["/schemaVersion"]


def test_an_unknown_key_is_named_beside_those_there_are() -> None:
    place, detail = _found({"actoin": "x"})[0]
    assert place == "/playbooks/0/steps/0/actoin"
    assert detail == "there is no `actoin` here; there are action, mode, name, onFailure, params, when"


def test_a_message_carries_the_description_of_the_field() -> None:
    content = parse(DOMAIN).content | {"version": "one"}
    assert "Semantic version" in violations(DomainPack, content, VOCABULARY)[0].detail
