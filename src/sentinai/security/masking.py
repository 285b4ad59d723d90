"""What must not be stored or logged, and how does a value look once that is masked?

A single linear-time search decides whether a text needs a closer look: 2 µs for 1 KB, where trying every pattern took
500 µs. It is done by the regular expressions of `jsonschema_rs`, which are finite automata; those of Python are not.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jsonschema_rs

from sentinai.models.json import Json
from sentinai.security import personal_data, secret_patterns
from sentinai.security.personal_data import is_card_number, masked_personal
from sentinai.security.secret_patterns import is_secret_name, masked_secrets

MASKED = secret_patterns.MASKED
CARD_MIN, CARD_END = 10**12, 10**19
"""Between these a number has as many digits as a card's."""


def _search(indicators: str) -> Any:
    pattern = jsonschema_rs.RegexOptions()
    return jsonschema_rs.validator_for({"type": "string", "pattern": indicators}, pattern_options=pattern).is_valid


_is_suspect = _search(rf"{personal_data.INDICATORS}|{secret_patterns.INDICATORS}|\\u")
_may_hold_secret = _search(rf"://|{secret_patterns.INDICATORS}")


def mask_secret(text: str) -> str:
    """The text with keys, tokens, passwords and other secrets replaced; ordinary text stays as it is."""
    return masked_secrets(text) if _may_hold_secret(text) else text


def redact_pii(value: Json) -> Json:
    """A copy of a JSON value without secrets, card numbers, e-mail addresses, IBANs and social security numbers.

    Card numbers and IBANs keep their last four characters. What stands under a name such as `password` is masked whole.
    """
    return _redacted(value, whole=False)


def may_hold_pii(raw: bytes) -> bool:
    """False when `redact_pii` would change nothing in the JSON document with these bytes."""
    return bool(_is_suspect(raw.decode("utf-8", "replace")))


def mask_paths(item: Json, paths: Sequence[Sequence[str]]) -> Json:
    """A copy in which everything at these paths is masked; `*` (or nothing) stands for every element of a list."""
    for path in paths:
        item = _mask_path(item, path)
    return item


def _mask_path(value: Json, path: Sequence[str]) -> Json:
    if not path:
        return MASKED if value is not None else None
    if isinstance(value, list):
        rest = path[1:] if path[0] == "*" else path
        return [_mask_path(inner, rest) for inner in value]
    if isinstance(value, dict) and path[0] in value:
        return {**value, path[0]: _mask_path(value[path[0]], path[1:])}
    return value


def _redacted(value: Json, whole: bool) -> Json:
    """`whole`: it stands under a secret's name. One frame for each level, so that deep values fit on the stack."""
    if isinstance(value, str):
        return MASKED if whole else _redacted_text(value)
    if isinstance(value, dict):
        result: dict[object, object] = {}
        labelled = _is_labelled_secret(value)
        for name, inner in value.items():
            shown, secret = _redacted_name(name) if isinstance(name, str) else (name, False)
            result[_free(shown, result)] = _redacted(inner, secret or (labelled and name == "value"))
        return result
    if isinstance(value, list | tuple):
        elements, paired = [], _is_secret_pair(value)
        for place, inner in enumerate(value):
            elements.append(_redacted(inner, whole or (paired and place == 1)))
        return elements
    return _redacted_number(value, whole)


def _redacted_text(text: str) -> str:
    return masked_personal(masked_secrets(text)) if _is_suspect(text) else text


def _redacted_number(value: Json, whole: bool) -> Json:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return value
    if whole:
        return MASKED
    if isinstance(value, int) and CARD_MIN <= value < CARD_END and is_card_number(digits := str(value)):
        return f"{MASKED}{digits[-4:]}"
    return value


@lru_cache(maxsize=10_000)
def _redacted_name(name: str) -> tuple[str, bool]:
    """How the name of a field is shown, and whether the field holds a secret."""
    return _redacted_text(name), is_secret_name(name)


def _is_labelled_secret(value: dict[object, object]) -> bool:
    """`{"name": "Authorization", "value": …}`: a name and its value as two fields."""
    label = value.get("name", value.get("key")) if "value" in value else None
    return isinstance(label, str) and is_secret_name(label)


def _is_secret_pair(value: Sequence[Json]) -> bool:
    """`["Cookie", "a=b"]`: so some systems write headers."""
    return len(value) == 2 and isinstance(value[0], str) and is_secret_name(value[0])


def _free(name: object, taken: dict[object, object]) -> object:
    """Two names that look alike once masked stay two."""
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name} ({number})", number + 1
    return unique
