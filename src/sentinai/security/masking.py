"""What must not be stored or logged, and how does a value look once that is masked?

A single linear-time search decides whether a text needs a closer look: 2 µs for 1 KB, where trying every pattern took
500 µs. It is done by the regular expressions of `jsonschema_rs`, which are finite automata; those of Python are not.
"""

from collections.abc import Sequence
from typing import Any

import jsonschema_rs

from sentinai.security import personal_data, secret_patterns
from sentinai.security.personal_data import is_card_number, masked_personal
from sentinai.security.secret_patterns import MASKED, is_secret_name, masked_secrets

CARD_MIN = 10**12
"""The smallest number that could be a card's."""
_PAIR_KEYS = (("name", "value"), ("key", "value"))


def _search(indicators: str) -> Any:
    pattern = jsonschema_rs.RegexOptions()
    return jsonschema_rs.validator_for({"type": "string", "pattern": indicators}, pattern_options=pattern).is_valid


_is_suspect = _search(rf"{personal_data.INDICATORS}|{secret_patterns.INDICATORS}|\\u")
_may_hold_secret = _search(rf"://|{secret_patterns.INDICATORS}")


def mask_secret(text: str) -> str:
    """The text with keys, tokens, passwords and other secrets replaced; ordinary text stays as it is."""
    return masked_secrets(text) if _may_hold_secret(text) else text


def redact_pii(value: Any) -> Any:
    """A copy of a JSON value without secrets, card numbers, e-mail addresses, IBANs and social security numbers.

    Card numbers and IBANs keep their last four characters. What stands under a name such as `password` is masked whole.
    """
    if isinstance(value, str):
        return masked_personal(masked_secrets(value)) if _is_suspect(value) else value
    if isinstance(value, dict):
        return _redacted_object(value)
    if isinstance(value, list | tuple):
        return _redacted_list(value)
    if isinstance(value, int) and value >= CARD_MIN and is_card_number(digits := str(value)):
        return f"{MASKED}{digits[-4:]}"
    return value


def may_hold_pii(raw: bytes) -> bool:
    """False when `redact_pii` would change nothing in the JSON document with these bytes."""
    return bool(_is_suspect(raw.decode("utf-8", "replace")))


def mask_paths(item: Any, paths: Sequence[Sequence[str]]) -> Any:
    """A copy in which everything at these paths is masked; `*` (or nothing) stands for every element of a list."""
    for path in paths:
        item = _mask_path(item, path)
    return item


def _mask_path(value: Any, path: Sequence[str]) -> Any:
    if not path:
        return MASKED if value is not None else None
    if isinstance(value, list):
        rest = path[1:] if path[0] == "*" else path
        return [_mask_path(inner, rest) for inner in value]
    if isinstance(value, dict) and path[0] in value:
        return {**value, path[0]: _mask_path(value[path[0]], path[1:])}
    return value


def _redacted_object(value: dict[Any, Any]) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for name, inner in value.items():
        secret = isinstance(name, str) and is_secret_name(name)
        result[_free(redact_pii(name), result)] = _masked_whole(inner) if secret else redact_pii(inner)
    for name, held in _PAIR_KEYS:
        if held in value and isinstance(label := value.get(name), str) and is_secret_name(label):
            result[held] = _masked_whole(value[held])
    return result


def _redacted_list(value: Sequence[Any]) -> list[Any]:
    """A pair such as `["Cookie", "a=b"]` is a name and its value: so some systems write headers."""
    if len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], str) and is_secret_name(value[0]):
        return [value[0], MASKED]
    return [redact_pii(inner) for inner in value]


def _masked_whole(value: Any) -> Any:
    """Text and numbers, alone or in a list; an object below such a name describes the secret (`{"expires": …}`)."""
    if isinstance(value, list | tuple):
        return [_masked_whole(inner) for inner in value]
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return MASKED
    return redact_pii(value)


def _free(name: Any, taken: dict[Any, Any]) -> Any:
    """Two names that look alike once masked stay two."""
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name} ({number})", number + 1
    return unique
