"""Are the rendered parameters of a step what its action needs?"""

from collections.abc import Mapping
from typing import Any

from sentinai.errors import Rejected

TEXT_CHARS_MAX = 10_000


def text(params: Mapping[str, Any], name: str, chars_max: int = TEXT_CHARS_MAX) -> str:
    """A parameter that has to be non-empty text; raises Rejected naming it otherwise."""
    value = params.get(name)
    if not isinstance(value, str) or not value or len(value) > chars_max:
        raise Rejected(f"parameter {name!r} must be text of 1 to {chars_max} characters", parameter=name)
    return value


def mapping(params: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A parameter that has to be an object; absent means empty."""
    value = params.get(name, {})
    if not isinstance(value, dict):
        raise Rejected(f"parameter {name!r} must be an object", parameter=name)
    return value
