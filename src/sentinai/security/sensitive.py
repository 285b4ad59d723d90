"""How are values that a pack calls sensitive masked inside a delivery that is split only later?

The items are computed by an expression, so a path below an item has no place in the delivery; its value has.
"""

from collections.abc import Collection, Iterable, Sequence

from sentinai.models.json import Json

MASKED = "***"


def values_at(item: Json, paths: Iterable[Sequence[str]]) -> set[str | int | float]:
    """The text and numbers at or below these paths; `*` stands for every list element."""
    found: set[str | int | float] = set()
    for path in paths:
        _collect(item, path, found)
    return found


def mask_values(value: Json, masked: Collection[str | int | float]) -> Json:
    """A copy in which every leaf that equals one of these is MASKED."""
    if isinstance(value, dict):
        return {key: mask_values(inner, masked) for key, inner in value.items()}
    if isinstance(value, list):
        return [mask_values(inner, masked) for inner in value]
    if isinstance(value, bool) or value is None:
        return value
    return MASKED if value in masked else value


def _collect(value: Json, path: Sequence[str], found: set[str | int | float]) -> None:
    if isinstance(value, dict) and path:
        if path[0] in value:
            _collect(value[path[0]], path[1:], found)
    elif isinstance(value, dict):
        for inner in value.values():
            _collect(inner, (), found)
    elif isinstance(value, list):
        rest = path[1:] if path and path[0] == "*" else path
        for inner in value:
            _collect(inner, rest, found)
    elif not path and isinstance(value, str | int | float) and not isinstance(value, bool):
        found.add(value)
