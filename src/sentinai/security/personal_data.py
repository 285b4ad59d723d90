"""How do card numbers, bank accounts, e-mail addresses and social security numbers look inside a text?

Numbers are masked only if their own check digits hold, so that order numbers and amounts stay. Linear in the length of
the text.
"""

import re
from collections.abc import Callable

MASKED = "***"

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]++@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*"
    r"\.(?:xn--[A-Za-z0-9-]{2,59}|[A-Za-z]{2,24})",
    re.ASCII,
)
_SSN = re.compile(r"(?<![\w-])(?!000|666|9[0-9]{2})[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![\w-])", re.ASCII)
_CARD = re.compile(
    r"""(?<![\w.-])(?:
        (?P<one>[2-6][0-9]{12,18})
      | (?P<four>[2-6][0-9]{3}([ -])[0-9]{4}\3[0-9]{4}\3[0-9]{1,4}) (?:\3(?P<fifth>[0-9]{1,3}))?
      | (?P<amex>3[0-9]{3}[ -][0-9]{6}[ -][0-9]{4,5})
      | (?P<two>[56][0-9]{5}[ ][0-9]{10,13})
    )(?![\w-]|\.[0-9])""",
    re.VERBOSE | re.ASCII,
)
_ISSUED = re.compile(
    r"""3[47][0-9]{13} | 3(?:0[0-5]|[689][0-9])[0-9]{11,16} | 35(?:2[89]|[3-8][0-9])[0-9]{12,15}
      | 4[0-9]{12}(?:[0-9]{3}){0,2} | 2(?:2[0-9]{2}|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12} | [56][0-9]{12,18}""",
    re.VERBOSE | re.ASCII,
)
"""Ranges and lengths that card networks issue (ISO/IEC 7812)."""
_DOUBLED = str.maketrans("0123456789", "0246813579")
"""A digit to the digit sum of its double."""
_JOINED = str.maketrans("", "", " -")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?:[ ]?[A-Z0-9]){11,30}", re.ASCII)
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}
"""Characters of an IBAN by country (SWIFT IBAN registry)."""
_AS_NUMBER = str.maketrans({letter: str(int(letter, 36)) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"})

INDICATORS = (
    r"@|(?:^|[^A-Za-z0-9_.-]|\\[bfnrt])[2-6](?:[ -]?[0-9]){12}|[0-9]{3}-[0-9]{2}-[0-9]{4}"
    r"|(?:^|[^A-Za-z0-9]|\\[bfnrt])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11}"
)
"""Linear-time regular expression that finds something in every JSON text that `masked_personal` changes."""


def masked_personal(text: str) -> str:
    """The text without personal data; of card numbers and IBANs the last four characters stay."""
    if "@" in text:
        text = _EMAIL.sub(f"{MASKED}@{MASKED}", text)
    text = _SSN.sub(MASKED, text)
    return _replaced(_IBAN, _iban_end, _replaced(_CARD, _card_end, text))


def is_card_number(digits: str) -> bool:
    """In a range that is issued, and the Luhn check digit (ISO/IEC 7812-1) holds."""
    if not _ISSUED.fullmatch(digits):
        return False
    total = sum(digits[-1::-2].encode()) + sum(digits[-2::-2].translate(_DOUBLED).encode())
    return (total - ord("0") * len(digits)) % 10 == 0


def _replaced(pattern: re.Pattern[str], end_of: Callable[[re.Match[str]], int | None], text: str) -> str:
    """Mask the candidates of which `end_of` says where they end; the next one may start inside a refused one."""
    kept, done, at = [], 0, 0
    while match := pattern.search(text, at):
        end = end_of(match)
        if end is None:
            at = match.start() + 4
            continue
        found = text[match.start() : end].translate(_JOINED)
        kept += [text[done : match.start()], found[:2] if found[0].isalpha() else "", MASKED, found[-4:]]
        done = at = end
    return "".join([*kept, text[done:]]) if done else text


def _card_end(match: re.Match[str]) -> int | None:
    """With the fifth group, and without it: an expiry date may follow."""
    if is_card_number(match[0].translate(_JOINED)):
        return match.end()
    if match["fifth"] is not None and is_card_number(match["four"].translate(_JOINED)):
        return match.end("four")
    return None


def _iban_end(match: re.Match[str]) -> int | None:
    """As long as its country's are, and the check digits hold: rearranged, letters as numbers, modulo 97 is 1 (ISO 13616)."""
    length = _IBAN_LENGTHS.get(match[0][:2], 0)
    plain = match[0].translate(_JOINED)[:length]
    if len(plain) != length or not length or int((plain[4:] + plain[:4]).translate(_AS_NUMBER)) % 97 != 1:
        return None
    end = match.start()
    for _ in range(length):
        end += 2 if match.string[end] == " " else 1
    return None if match.string[end : end + 1].isalnum() else end
