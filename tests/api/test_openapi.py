"""Is every body shown by an example that its own schema takes?"""

from typing import Any

import jsonschema_rs
import pytest

from sentinai.bootstrap import build_app
from sentinai.settings import Settings

DOCUMENT: dict[str, Any] = build_app(Settings(_env_file=None), "postgresql://nowhere").openapi()
BODIES = [
    (f"{method} {path} {media_type}", content)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items()
]


def examples_of(content: dict[str, Any]) -> list[Any]:
    if "example" in content:
        return [content["example"]]
    schema = content["schema"]
    reference = schema.get("$ref") or next((s["$ref"] for s in schema.get("anyOf", ()) if "$ref" in s), "")
    found: list[Any] = DOCUMENT["components"]["schemas"].get(reference.rpartition("/")[2], schema).get("examples", [])
    return found


@pytest.mark.parametrize(("name", "content"), BODIES, ids=[name for name, _ in BODIES])
def test_a_body_has_an_example_that_fits(name: str, content: dict[str, Any]) -> None:
    examples = examples_of(content)
    assert examples, name
    schema = content["schema"] | {"components": DOCUMENT["components"]}
    for example in examples:
        jsonschema_rs.validate(schema, example)


def test_every_operation_has_a_summary() -> None:
    operations = [o for methods in DOCUMENT["paths"].values() for o in methods.values()]
    assert len(operations) > 30
    assert all(o.get("summary") for o in operations)
