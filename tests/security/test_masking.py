"""Is everything masked that is a secret or personal, nothing else, and in bounded time?"""

import time
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentinai.security.masking import MASKED, mask_paths, mask_secret, may_hold_pii, redact_pii

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.c2lnbmF0dXJlLW9mLWl0"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----"

PLANTED = {
    "visa": ("4242424242424242", "4242424242424242"),
    "visa in groups": ("4242 4242 4242 4242", "4242 4242 4242 4242"),
    "mastercard with dashes": ("5555-5555-5555-4444", "5555-5555-5555-4444"),
    "amex": ("3782 822463 10005", "822463"),
    "card and its code": ("4242 4242 4242 4242 123", "4242 4242 4242 4242"),
    "card and its expiry": ("4242424242424242 12/27", "4242424242424242"),
    "e-mail": ("jane.doe+x@mail.example.co.uk", "jane.doe"),
    "iban": ("DE89370400440532013000", "370400440532"),
    "iban in groups": ("DE89 3704 0044 0532 0130 00", "3704 0044"),
    "iban before a word in capitals": ("ES91 2100 0418 4502 0005 1332 PAID", "2100 0418"),
    "social security number": ("536-22-1234", "536-22"),
    "aws key": ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
    "aws temporary key": ("ASIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
    "jwt": (JWT, "eyJzdWIi"),
    "private key": (KEY, "MIIEpAIBAAKCAQEA"),
    "private key cut off": (KEY[:50], "MIIEpAIB"),
    "stripe secret": ("sk_live_abcdefgh12345678", "abcdefgh"),
    "stripe publishable": ("pk_live_abcdefgh12345678", "abcdefgh"),
    "own key": ("sk_sentinai_abcdefgh12345678", "abcdefgh"),
    "webhook secret": ("whsec_abcdefgh12345678", "abcdefgh"),
    "github": ("ghp_abcdefghijklmnopqrstuvwx1234", "abcdefgh"),
    "github fine-grained": ("github_pat_abcdefghijklmnopqrstuvwx", "abcdefgh"),
    "gitlab": ("glpat-abcdefghijklmnop1234", "abcdefgh"),
    "slack": ("xoxb-123456789012-abcdefgh", "abcdefgh"),
    "google": ("AIza" + "a1B2c" * 7, "a1B2c"),
    "sendgrid": ("SG.abcdefghijklmnop12.abcdefghijklmnop12", "abcdefgh"),
    "npm": ("npm_abcdefghijklmnopqrstuvwxyz012345", "abcdefgh"),
    "pypi": ("pypi-abcdefghijklmnopqrstuvwxyz012345", "abcdefgh"),
    "model provider": ("sk-proj-abcdefghijklmnopqrstuvwx", "abcdefgh"),
    "bearer": ("Authorization: Bearer abcdef.123456", "abcdef"),
    "basic after a line break": ("Basic\nYWxhZGRpbjpvcGVu", "YWxhZGRp"),
    "password": ("password=hunter22", "hunter22"),
    "prefixed password": ("db_password: hunter22", "hunter22"),
    "quoted password": ("{'user-passwd': 'hunter22'}", "hunter22"),
    "api key": ("api-key=hunter22", "hunter22"),
    "url password": ("postgresql://user:hunter22@db/x", "hunter22"),
    "account number of a cloud": ("awsAccountId=123456789012", "123456789012"),
}

ORDINARY = [
    "order 4242424242424241 is late",
    "1700000000000",
    "2026-11-23T16:40:00.123456Z",
    "2026-11-23 16:40:00",
    "550e8400-e29b-41d4-a716-446655440000",
    "12345678-1234-1234-1234-123456789012",
    "pi_3MtwBwLkdIwHu7ix28a3tqPa",
    "evt_1NG8Du2eZvKYlo2CUI79vXWy",
    "DE89370400440532013001",
    "000-12-3456",
    "192.168.10.12:5432",
    "4.5.1234567890123",
    "https://example.com/a:b?c=d",
    "the token expired; the password was wrong",
    "keyboard=qwertz",
    "accountId=123456789012",
    "sk_1",
    "@mention",
    "",
]


@pytest.mark.parametrize(("text", "needle"), PLANTED.values(), ids=PLANTED)
@pytest.mark.parametrize("around", ["{}", "see {}", "see ({}), please", "a\n{}\tb", "é {} é"])
def test_a_planted_secret_is_masked_wherever_it_stands(text: str, needle: str, around: str) -> None:
    told = {"note": around.format(text), "list": [[around.format(text)]], around.format(text): 1}
    assert needle not in str(redact_pii(told))
    assert may_hold_pii(msgspec.json.encode(told))


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_untouched(text: str) -> None:
    assert redact_pii(text) == text
    assert redact_pii({"reference": text}) == {"reference": text}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("4242 4242 4242 4242", "***4242"),
        ("card 4242 4242 4242 4242 123 late", "card ***4242 123 late"),
        ("DE89 3704 0044 0532 0130 00", "DE***3000"),
        ("ES91 2100 0418 4502 0005 1332 PAID", "ES***1332 PAID"),
        ("jane@example.com, joe@example.com", "***@***, ***@***"),
        ("psql://me:hunter22@db/x", "psql://me:***@db/x"),
        ("db_password=hunter22&x=1", "db_password=***&x=1"),
        ("Bearer abcdef123", "Bearer ***"),
    ],
)
def test_what_is_around_a_secret_stays_readable(text: str, masked: str) -> None:
    assert redact_pii(text) == masked


@pytest.mark.parametrize(
    "key",
    [
        "password", "PASSWORD", "dbPassword", "db-password", "apiKey", "api_key", "X-API-Key", "accessToken",
        "refresh_token", "client_secret", "secretKey", "privateKey", "Authorization", "Set-Cookie", "sessionId", "cvv",
        "card.cvc", "pin", "credentials",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", ["hunter22", 1234, 12.5, ""])
def test_the_value_under_a_secrets_key_is_masked_whole(key: str, value: Any) -> None:
    assert redact_pii({key: value}) == {key: MASKED}
    assert may_hold_pii(msgspec.json.encode({key: value}))


def test_several_values_under_a_secrets_key_are_masked_one_by_one() -> None:
    assert redact_pii({"Set-Cookie": ["sid=abc", 7, None]}) == {"Set-Cookie": [MASKED, MASKED, None]}


@pytest.mark.parametrize(
    "told",
    [
        {"token_expires_at": "tomorrow"},
        {"password": True},
        {"password": None},
        {"token": {"type": "card"}},
        {"pinned": "yes"},
        {"keyboard": "qwertz"},
        {"secretary": "jane"},
        {"spin": 3},
    ],
)
def test_a_key_that_only_resembles_a_secrets_is_left_alone(told: dict[str, Any]) -> None:
    assert redact_pii(told) == told


@pytest.mark.parametrize("value", [None, True, False, 0, -4242424242424242, 12.5, 4242424242424241])
def test_other_values_keep_their_type(value: Any) -> None:
    assert redact_pii(value) is value


def test_a_card_number_written_as_a_number_is_masked() -> None:
    assert redact_pii({"number": 4242424242424242}) == {"number": "***4242"}


@pytest.mark.parametrize("piece", ["a-", "a.", "eyJaaaaaaaa-", "4 ", "DE12 ", "password ", "x://", "-----BEGIN A", "1"])
def test_a_long_hostile_text_is_masked_in_a_moment(piece: str) -> None:
    started = time.process_time()
    redact_pii(piece * (200_000 // len(piece)))
    assert time.process_time() - started < 3


FRAGMENTS = st.one_of(
    st.sampled_from([text for text, _ in PLANTED.values()]),
    st.sampled_from(["password", "pk_live_", "Basic", "=", ":", "\n", " ", "-", '"', "paſſword", "toKen", "٤٢٤٢"]),
    st.text(max_size=12),
    st.text("0123456789 -", max_size=24),
)
TEXTS = st.lists(FRAGMENTS, max_size=4).map("".join)
KEYS = st.one_of(st.sampled_from(["pin", "PIN\n", "toKen", "apiKey", "cvc", "card.pwd"]), TEXTS)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@given(VALUES)
@example("42 42 42 42 42 42 42 42")
@example("4٢٤٢ 4242 4242 4242")
@example("paſſword=hunter22")
@example("Basic\tYWxhZGRpbjpvcGVu")
@example("pk_live_abcdefgh12345678")
@example({"paſſword": "x"})
def test_what_is_passed_without_masking_holds_nothing_to_mask(value: Any) -> None:
    assert may_hold_pii(msgspec.json.encode(value)) or redact_pii(value) == value


@given(st.lists(FRAGMENTS, max_size=4).map(" ".join))
def test_masking_twice_changes_nothing_more(text: str) -> None:
    once = redact_pii(text)
    assert redact_pii(once) == once


def test_names_that_look_alike_once_masked_stay_two() -> None:
    masked = redact_pii({"jane@example.com": 1, "joe@example.com": 2})
    assert sorted(masked.values()) == [1, 2]
    assert "@example" not in str(masked)


@pytest.mark.parametrize(
    "told",
    [
        {"name": "Authorization", "value": "hunter22"},
        {"key": "api_key", "value": ["hunter22"]},
        {"headers": [["Cookie", "hunter22"]]},
        {"token": ["hunter22"]},
    ],
)
def test_a_name_beside_its_value_masks_it(told: Any) -> None:
    assert "hunter22" not in str(redact_pii(told))
    assert may_hold_pii(msgspec.json.encode(told))


@given(st.text())
def test_masking_a_text_never_raises(text: str) -> None:
    assert isinstance(mask_secret(text), str)
    assert isinstance(redact_pii(text), str)


ITEM = {"card": {"number": "42", "brand": "visa"}, "lines": [{"iban": "a", "n": 1}, {"n": 2}], "none": None}


@pytest.mark.parametrize(
    ("path", "masked"),
    [
        (("card", "number"), {**ITEM, "card": {"number": MASKED, "brand": "visa"}}),
        (("card",), {**ITEM, "card": MASKED}),
        (("lines", "*", "iban"), {**ITEM, "lines": [{"iban": MASKED, "n": 1}, {"n": 2}]}),
        (("lines", "iban"), {**ITEM, "lines": [{"iban": MASKED, "n": 1}, {"n": 2}]}),
        (("none",), ITEM),
        (("nothing", "here"), ITEM),
        (("card", "brand", "deeper"), ITEM),
    ],
)
def test_a_declared_path_is_masked_and_nothing_else(path: tuple[str, ...], masked: dict[str, Any]) -> None:
    assert mask_paths(ITEM, [path]) == masked


def test_masking_a_path_leaves_the_original_alone() -> None:
    mask_paths(ITEM, [("card", "number"), ("lines", "iban")])
    assert ITEM["card"] == {"number": "42", "brand": "visa"}
