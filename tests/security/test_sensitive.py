"""Are the values that a pack calls sensitive found, and masked wherever they stand in the delivery?"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinai.security.sensitive import MASKED, mask_values, values_at

ITEM = {
    "card": {"number": "42", "holder": {"name": "Jane", "age": 40}},
    "lines": [{"iban": "DE1"}, {"iban": "DE2"}, {"other": 1}],
    "ok": True,
    "none": None,
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (("card", "number"), {"42"}),
        (("card",), {"42", "Jane", 40}),
        (("lines", "*", "iban"), {"DE1", "DE2"}),
        (("lines", "iban"), {"DE1", "DE2"}),
        (("ok",), set()),
        (("none",), set()),
        (("card", "number", "deeper"), set()),
        (("nobody",), set()),
    ],
)
def test_a_path_finds_the_text_and_numbers_below_it(path: tuple[str, ...], found: set[Any]) -> None:
    assert values_at(ITEM, [path]) == found


def test_several_paths_find_what_each_of_them_finds() -> None:
    assert values_at(ITEM, [("card", "number"), ("lines", "iban")]) == {"42", "DE1", "DE2"}


def test_a_found_value_is_masked_wherever_it_stands() -> None:
    delivery = {"a": ["42", {"b": "42", "c": "421"}], "d": 42, "e": "x 42"}
    assert mask_values(delivery, {"42"}) == {"a": [MASKED, {"b": MASKED, "c": "421"}], "d": 42, "e": "x 42"}


def test_a_number_does_not_mask_true_or_null() -> None:
    assert mask_values([True, False, None, 1, 0, 1.0], {1, 0}) == [True, False, None, MASKED, MASKED, MASKED]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_nothing_to_mask_changes_nothing(value: Any) -> None:
    assert mask_values(value, set()) == value


@given(JSON)
def test_masking_everything_leaves_none_of_the_values(value: Any) -> None:
    found = values_at([value], [()]) - {MASKED}
    assert values_at([mask_values(value, found)], [()]) & found == set()
