"""How is a JSON Schema that came with a pack compiled, without ever fetching what it refers to?"""

from typing import NoReturn

import jsonschema_rs

from sentinai.errors import Rejected
from sentinai.models.json import Json


def compile_schema(schema: Json) -> jsonschema_rs.Validator:
    """Raises Rejected for what is no JSON Schema, or refers to anything outside of itself."""
    try:
        return jsonschema_rs.validator_for(schema, retriever=_refuse)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise Rejected(f"is not a valid JSON Schema: {str(error).splitlines()[0]}") from error


def _refuse(uri: str) -> NoReturn:
    """The library would fetch it, from the network of whoever reads the pack."""
    raise ValueError(f"{uri} is outside of the schema")
