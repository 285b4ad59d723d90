"""What is a secret or personal, and how does it look once it is masked?

Patterns recognise values by their own form; keys of objects (`password`, `token`, …) mask whatever they hold.
"""

import re
from collections.abc import Sequence
from typing import Any

MASKED = "***"

SECRET_KEYS = re.compile(
    r"(?:^|[_\-.])(?:password|passwd|pwd|passphrase|secret|token|authorization|apikey|api[_-]key|access[_-]key|"
    r"private[_-]key|client[_-]secret|credential|credentials|cvv|cvc|cvc2|pin|set[_-]cookie|cookie|session[_-]id)$",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_HARMLESS = frozenset({"", MASKED})

_SECRETS = re.compile(
    r"""
    -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----[\s\S]*?(?:-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|\Z)
  | \b(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA)[A-Z0-9]{16}\b
  | \beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?
  | \b(?:sk|rk|pk)_(?:live|test|sentinai)_[A-Za-z0-9_-]{8,}
  | \bwhsec_[A-Za-z0-9+/=]{8,}
  | \bgh[pousr]_[A-Za-z0-9]{20,} | \bgithub_pat_[A-Za-z0-9_]{20,}
  | \bglpat-[A-Za-z0-9_-]{16,}
  | \bxox[abeprs]-[A-Za-z0-9-]{10,}
  | \bAIza[A-Za-z0-9_-]{35}
  | \bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}
  | \bnpm_[A-Za-z0-9]{30,} | \bpypi-[A-Za-z0-9_-]{30,}
  | \bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{20,}
    """,
    re.VERBOSE,
)
_LABELLED = re.compile(
    r"""(?P<label>["']?\b(?:[a-z0-9]+[_-])*(?:password|passwd|pwd|passphrase|secret|token|api[_-]?key|access[_-]?key(?:[_-]?id)?|
    client[_-]?secret|private[_-]?key|secret[_-]?access[_-]?key|account[_-]?id(?=["']?\s*[=:]\s*["']?\d{12}\b))["']?\s*[=:]\s*)
    (?P<quote>["']?)(?!\*\*\*)(?P<value>[^\s"',;&}]{3,})""",
    re.IGNORECASE | re.VERBOSE,
)
_BEARER = re.compile(r"\b(Bearer|Basic|ApiKey)\s+(?!\*\*\*)[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?P<head>\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)(?!\*\*\*)[^\s/@]+(?=@)", re.IGNORECASE)
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,24}\b")
_CARD = re.compile(r"(?<![\w.-])(?:\d[ -]?){12,18}\d(?![\w-]|\.\d)")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_SSN = re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")

_SUSPECT = re.compile(
    rb"@|\d[ -]?\d{3}[ -]?\d{4}|\d{3}-\d\d-\d{4}|[A-Z]{2}\d{2} ?[A-Z0-9]{4}|eyJ|PRIVATE KEY|A[KSRIGN][IOPD]A|[sr]k[_-]|whsec_|gh[pousr]_|"
    rb"github_pat|glpat-|xox|AIza|SG\.|npm_|pypi-|(?i:pass|pwd|secret|token|auth|key|credential|cv[vc]|pin\W|cookie|"
    rb"session|bearer|basic )"
)
"""A prefilter over the JSON bytes: what does not match holds nothing that would be masked."""


def mask_secret(text: str) -> str:
    """The text with keys, tokens, passwords and other secrets replaced; ordinary text stays as it is."""
    text = _SECRETS.sub(MASKED, text)
    text = _BEARER.sub(rf"\1 {MASKED}", text)
    text = _URL_PASSWORD.sub(rf"\g<head>{MASKED}", text)
    return _LABELLED.sub(rf"\g<label>\g<quote>{MASKED}", text)


def redact_pii(value: Any) -> Any:
    """A copy of a JSON value without secrets, card numbers, e-mail addresses, IBANs and social security numbers.

    Card numbers keep their last four digits. Whatever stands under a key such as `password` is masked whole.
    """
    if isinstance(value, str):
        return _redact_text(value)
    if isinstance(value, dict):
        return {_redact_text(k): MASKED if _is_secret(k, v) else redact_pii(v) for k, v in value.items()}
    if isinstance(value, list):
        return [redact_pii(inner) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool) and _is_card(digits := str(value)):
        return f"{MASKED}{digits[-4:]}"
    return value


def may_hold_pii(raw: bytes) -> bool:
    """False when `redact_pii` would change nothing in the JSON document with these bytes."""
    return _SUSPECT.search(raw) is not None


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


def _is_secret(key: str, value: Any) -> bool:
    """A secret's own key; a description of one (`token_expires_at`, a boolean, an object) is not."""
    if isinstance(value, bool | dict | list) or value is None:
        return False
    return SECRET_KEYS.search(_CAMEL.sub("_", key)) is not None


def _redact_text(text: str) -> str:
    if len(text) < 3 or text in _HARMLESS:
        return text
    text = mask_secret(text)
    if "@" in text:
        text = _EMAIL.sub(f"{MASKED}@{MASKED}", text)
    text = _CARD.sub(_masked_card, text)
    text = _SSN.sub(MASKED, text)
    return _IBAN.sub(_masked_iban, text)


def _masked_card(match: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", match[0])
    return f"{MASKED}{digits[-4:]}" if _is_card(digits) else match[0]


def _is_card(digits: str) -> bool:
    """13 to 19 digits of a known issuer's range that pass the Luhn check."""
    if not 13 <= len(digits) <= 19 or digits[0] not in "3456" or not digits.isdigit():
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (2 if place % 2 else 1)
        total += number - 9 if number > 9 else number
    return total % 10 == 0


def _masked_iban(match: re.Match[str]) -> str:
    """Only with valid check digits (ISO 13616: rearranged, letters as numbers, modulo 97 is 1)."""
    plain = match[0].replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return match[0]
    number = int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4]))
    return f"{plain[:2]}{MASKED}{plain[-4:]}" if number % 97 == 1 else match[0]
