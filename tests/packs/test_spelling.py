"""Is the name that was meant found, at a bounded cost?"""

import time

import pytest

from sentinai.packs.checks.spelling import NAMES_SHOWN_MAX, SUGGESTIONS_MAX, Spelling


def test_the_closest_name_is_suggested() -> None:
    spelling = Spelling(["paymentId", "amountMinor"])
    assert "paymentId" in spelling
    assert "paymentid" not in spelling
    assert spelling.instead_of("amountMinr") == "did you mean `amountMinor`?"


def test_without_a_close_one_it_says_what_there_is() -> None:
    assert Spelling(["b", "a"]).instead_of("zzz") == "there are a, b"
    many = Spelling(f"name{n:04}" for n in range(100))
    assert many.instead_of("zzz").count(", ") == NAMES_SHOWN_MAX
    assert many.instead_of("zzz").endswith(", name0019, …")


@pytest.mark.slow
def test_a_hostile_pack_cannot_have_names_compared_for_ever() -> None:
    spelling = Spelling(f"attribute{n}" for n in range(20_000))
    begun = time.process_time()
    said = [spelling.instead_of(f"atribute{n}") for n in range(5_000)]
    assert time.process_time() - begun < 5
    assert sum(text.startswith("did you mean") for text in said) <= SUGGESTIONS_MAX
