"""Are old events read as today's, and are newer ones left to newer processes?"""

from typing import Any

import msgspec
import pytest

from sentinai.errors import Unavailable
from sentinai.events import catalog
from sentinai.events.catalog import CATALOG, EventType, decode
from sentinai.events.feedback import FeedbackCaptured


class Renamed(msgspec.Struct):
    """What FeedbackCaptured might look like two versions on."""

    outcome: str
    took_s: float


def _renames(body: dict[str, Any]) -> dict[str, Any]:
    return {"outcome": body["result"], "minutes": body["minutes"]}


def _converts(body: dict[str, Any]) -> dict[str, Any]:
    return {"outcome": body["outcome"], "took_s": body["minutes"] * 60}


@pytest.fixture
def third_version(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EventType("FeedbackCaptured", Renamed, "feedback.captured", 3, {1: _renames, 2: _converts})
    monkeypatch.setitem(catalog.BY_NAME, "FeedbackCaptured", entry)
    monkeypatch.setitem(catalog._DECODERS, "FeedbackCaptured", msgspec.json.Decoder(Renamed))


@pytest.mark.parametrize(
    ("version", "payload"),
    [
        (1, b'{"result":"resolved","minutes":2}'),
        (2, b'{"outcome":"resolved","minutes":2}'),
        (3, b'{"outcome":"resolved","took_s":120}'),
    ],
)
def test_every_version_is_lifted_to_todays(third_version: None, version: int, payload: bytes) -> None:
    assert decode("FeedbackCaptured", version, payload) == Renamed("resolved", 120.0)


@pytest.mark.parametrize(("name", "version"), [("FeedbackCaptured", 2), ("InventedTomorrow", 1)])
def test_what_is_newer_is_left_to_newer_processes(name: str, version: int) -> None:
    with pytest.raises(Unavailable, match="newer than this process"):
        decode(name, version, b"{}")


def test_a_type_has_an_upcaster_for_each_version_before_its_own() -> None:
    assert [e.name for e in CATALOG if set(e.upcasters) != set(range(1, e.version))] == []
    assert FeedbackCaptured in catalog.BY_TYPE
