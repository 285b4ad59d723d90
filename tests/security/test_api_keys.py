"""Is an API key impossible to guess, and impossible to read back from what is stored?"""

import re

from hypothesis import given
from hypothesis import strategies as st

from sentinai.security.api_keys import hash_api_key, key_hint, new_api_key
from sentinai.security.masking import redact_pii


def test_a_key_has_256_random_bits_and_can_be_recognised() -> None:
    secret, _ = new_api_key()
    assert re.fullmatch(r"sk_sentinai_[A-Za-z0-9_-]{43}", secret)


def test_no_two_keys_are_the_same() -> None:
    assert len({new_api_key()[0] for _ in range(100)}) == 100


def test_the_stored_hash_is_that_of_the_secret_and_does_not_hold_it() -> None:
    secret, stored = new_api_key()
    assert stored == hash_api_key(secret)
    assert len(stored) == 32
    assert secret.encode() not in stored


def test_a_secret_that_differs_in_one_letter_has_another_hash() -> None:
    secret, stored = new_api_key()
    assert hash_api_key(secret[:-1] + ("A" if secret[-1] != "A" else "B")) != stored


@given(st.text(st.characters()))
def test_whatever_a_caller_sends_can_be_hashed(text: str) -> None:
    assert len(hash_api_key(text)) == 32


def test_a_lone_surrogate_can_be_hashed() -> None:
    assert len(hash_api_key("\ud800")) == 32


def test_the_hint_shows_four_characters() -> None:
    secret, _ = new_api_key()
    assert key_hint(secret) == "…" + secret[-4:]


def test_a_key_that_strays_into_a_text_is_masked() -> None:
    secret, _ = new_api_key()
    assert secret not in redact_pii(f"called with {secret}!")
