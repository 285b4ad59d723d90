"""Do log lines come out structured, with nothing secret in any field?"""

import io
import json
import logging
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from sentinai.observability.logs import DEPTH_MAX, configure
from sentinai.security.masking import redact_pii

CARD = "4242424242424242"
MAIL = "jane.doe@example.com"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    factory, config = logging.getLogRecordFactory(), structlog.get_config()
    yield
    logging.setLogRecordFactory(factory)
    structlog.configure(**config)


def line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The only line that was written."""
    (written,) = capsys.readouterr().err.splitlines()
    parsed: dict[str, Any] = json.loads(written)
    return parsed


def test_a_json_line_holds_name_level_time_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json", redact_pii)
    structlog.get_logger().warning("event_parked", tenant_id="acme", attempts=3)
    written = line(capsys)
    assert datetime.fromisoformat(written.pop("timestamp")).tzinfo == UTC
    assert written == {"event": "event_parked", "level": "warning", "tenant_id": "acme", "attempts": 3}


def test_a_line_for_people_is_masked_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "console", redact_pii)
    structlog.get_logger().error("request_broke", detail=f"no card {CARD}")
    written = capsys.readouterr().err
    assert "request_broke" in written
    assert "***4242" in written
    assert CARD not in written


def test_less_serious_lines_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure("warning", "json", redact_pii)
    structlog.get_logger().info("tool_log")
    assert capsys.readouterr().err == ""


class Payment:
    def __repr__(self) -> str:
        return f"Payment({MAIL})"


@pytest.mark.parametrize(
    "value",
    [
        f"by {MAIL}",
        [MAIL],
        (MAIL, 1),
        {MAIL},
        {"of": [{"customer": MAIL}]},
        {MAIL: 1},
        ValueError(f"bad: {MAIL}"),
        Payment(),
        MAIL.encode(),
    ],
    ids=lambda v: type(v).__name__,
)
def test_a_secret_is_masked_in_whatever_kind_of_field(value: Any, capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json", redact_pii)
    structlog.get_logger().info("tool_log", content=value)
    assert "jane" not in json.dumps(line(capsys))


def test_a_field_named_like_a_secret_is_masked_whole(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json", redact_pii)
    structlog.get_logger().info("tool_log", api_key="plain", content={"password": "plain"})
    assert "plain" not in json.dumps(line(capsys))


def test_a_traceback_is_masked(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json", redact_pii)
    try:
        raise ValueError(f"password={'hunter'}22 of {MAIL}")
    except ValueError:
        structlog.get_logger().exception("tool_call_broke")
    written = line(capsys)
    assert "ValueError: password=*** of ***@***" in written["exception"]
    assert "jane" not in json.dumps(written)


def test_ids_and_times_stay_readable(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json", redact_pii)
    known, at = uuid.uuid4(), datetime(2026, 11, 23, 17, 0, tzinfo=UTC)
    structlog.get_logger().info("tool_log", exception_id=known, at=at, ok=True, none=None)
    written = line(capsys)
    assert (written["exception_id"], written["at"]) == (str(known), str(at))
    assert (written["ok"], written["none"]) == (True, None)


def test_a_value_nested_too_deep_is_cut_and_not_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json", redact_pii)
    deep: Any = "bottom"
    for _ in range(5_000):
        deep = [deep]
    structlog.get_logger().info("tool_log", content=deep)
    assert json.dumps(line(capsys)["content"]).count("[") == DEPTH_MAX


def test_a_library_s_own_lines_and_tracebacks_are_masked(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json", redact_pii)
    library = logging.getLogger("some.library")
    handler = logging.StreamHandler()
    library.addHandler(handler)
    library.propagate = False
    try:
        raise RuntimeError(f"lost {CARD}")
    except RuntimeError:
        library.exception("while serving %s", MAIL)
    finally:
        library.removeHandler(handler)
    written = capsys.readouterr().err
    assert "while serving ***@***" in written
    assert "RuntimeError: lost ***4242" in written
    assert CARD not in written
    assert MAIL not in written


def test_a_logger_outlives_the_stream_it_first_wrote_to(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure("info", "json", redact_pii)
    log = structlog.get_logger()
    closed = io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", closed)
        log.info("tool_log", number=1)
    closed.close()
    log.info("tool_log", number=2)
    assert line(capsys)["number"] == 2
