"""Which instants can be kept?"""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from sentinai.models.instant import BOUNDS, EARLIEST, LATEST, is_keepable

TICK = timedelta(microseconds=1)
EAST, WEST = timezone(timedelta(hours=14)), timezone(-timedelta(hours=12))


@pytest.mark.parametrize(
    "instant",
    [
        EARLIEST,
        LATEST,
        EARLIEST + TICK,
        LATEST - TICK,
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 31, 12, tzinfo=EAST),
        datetime(1, 1, 2, 14, tzinfo=EAST),
        datetime(9999, 12, 29, 12, tzinfo=WEST),
    ],
)
def test_inside_of_the_bounds_it_can_be_kept(instant: datetime) -> None:
    assert is_keepable(instant)


@pytest.mark.parametrize(
    "instant",
    [
        EARLIEST - TICK,
        LATEST + TICK,
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=EAST),
        datetime(1, 1, 2, 13, 59, 59, 999999, tzinfo=EAST),
        datetime(9999, 12, 29, 12, 0, 0, 1, tzinfo=WEST),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, tzinfo=WEST),
    ],
)
def test_outside_of_them_it_cannot_whatever_its_clock_says(instant: datetime) -> None:
    assert not is_keepable(instant)


def test_everything_that_can_be_kept_has_a_form_in_every_zone() -> None:
    for instant in (EARLIEST, LATEST):
        for zone in (EAST, WEST):
            assert instant.astimezone(zone).astimezone(UTC) == instant


def test_an_instant_without_a_zone_is_no_question_for_it() -> None:
    with pytest.raises(TypeError):
        is_keepable(datetime(2026, 1, 31))


def test_the_sentence_names_the_bounds() -> None:
    assert EARLIEST.date().isoformat() in BOUNDS
    assert LATEST.date().isoformat() in BOUNDS
