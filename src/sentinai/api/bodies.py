"""How are bodies of reports read: fast, bounded, and with a pointer to what is wrong?

Decided here: UTF-8 JSON only; NaN, Infinity and lone surrogates are not JSON; of duplicate keys the last one counts;
NUL characters, integers beyond 64 bits and nesting beyond the bound are refused, since they cannot be kept exactly.
"""

import re
from collections.abc import Callable
from datetime import datetime

import msgspec
from fastapi import Request
from starlette.requests import ClientDisconnect

from sentinai.api.problems import Malformed, TooLarge, UnsupportedMedia
from sentinai.errors import Problem, Rejected
from sentinai.events.intake import ExceptionIngested
from sentinai.models.instant import BOUNDS, is_keepable
from sentinai.models.json import Json

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._:-]{0,99}")
BATCH_MAX = 1_000
_SUSPECT = re.compile(rb"\\u0000|\d{19}")
"""Only a body that matches can hold a NUL character or an integer beyond 64 bits."""


class ReportBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /exceptions; `models/http/exceptions.py` describes it for OpenAPI."""

    source_system: str
    payload: dict[str, Json] | list[Json]
    exception_type: str | None = None
    domain: str | None = None
    external_id: str | None = None
    occurred_at: datetime | None = None


_one = msgspec.json.Decoder(ReportBody)
_many = msgspec.json.Decoder(list[msgspec.Raw])


async def read_body(request: Request, bytes_max: int, hold: Callable[[int], None] = lambda _: None) -> bytes:
    """The raw body; raises TooLarge as soon as it is longer than allowed, declared or not.

    `hold` is told the size of each piece, and raises where there is no room for it.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > bytes_max:
        raise _too_large(bytes_max)
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > bytes_max:
                raise _too_large(bytes_max)
            hold(len(chunk))
            chunks.append(chunk)
    except ClientDisconnect as error:
        raise Malformed("The connection ended before the body did; nothing was stored.") from error
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def require_json(request: Request, *others: str) -> str:
    """The media type of the request; raises UnsupportedMedia unless it is JSON or one of `others`."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in ("application/json", *others):
        expected = " or ".join(("application/json", *others))
        raise UnsupportedMedia(f"Send {expected}, not {media_type or 'a body without Content-Type'}.")
    return media_type


def parse_report(body: bytes, depth_max: int, prefix: str = "") -> ExceptionIngested:
    """One report. Raises Malformed for what is not JSON, Rejected with pointers for what does not fit."""
    try:
        report = _one.decode(body)
    except msgspec.ValidationError as error:
        raise _rejected([_problem(error, prefix)]) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"The body is not valid JSON: {error}", problems=[Problem(prefix, str(error))]) from error
    except RecursionError as error:
        raise _too_deep(f"{prefix}/payload", depth_max) from error
    problems = _problems(report, body, depth_max, prefix)
    if problems:
        raise _rejected(problems)
    return ExceptionIngested(
        report.source_system,
        report.payload,
        report.exception_type,
        report.domain,
        report.external_id,
        report.occurred_at,
    )


def parse_reports(body: bytes, media_type: str, depth_max: int, bytes_max: int) -> list[ExceptionIngested]:
    """Many reports, as a JSON array or newline-delimited; all problems of all reports at once. Each as large as one alone may be."""
    parts = _lines(body) if media_type != "application/json" else _array(body)
    if not 1 <= len(parts) <= BATCH_MAX:
        raise _rejected([Problem("", f"a batch holds 1 to {BATCH_MAX} reports, this one {len(parts)}")])
    reports: list[ExceptionIngested] = []
    problems: list[Problem] = []
    for index, part in enumerate(parts):
        if len(part) > bytes_max:
            problems.append(Problem(f"/{index}", f"a report has at most {bytes_max:,} bytes, this one {len(part):,}"))
            continue
        try:
            reports.append(parse_report(part, depth_max, f"/{index}"))
        except Rejected as error:
            problems += error.problems
    if problems:
        raise _rejected(problems)
    return reports


def _lines(body: bytes) -> list[bytes]:
    return [line for line in body.split(b"\n") if line.strip()]


def _array(body: bytes) -> list[bytes]:
    try:
        return [bytes(raw) for raw in _many.decode(body)]
    except msgspec.ValidationError as error:
        raise _rejected([Problem("", "the body must be an array of reports")]) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"The body is not valid JSON: {error}", problems=[Problem("", str(error))]) from error
    except RecursionError as error:
        raise _too_deep("", 0) from error


def _problems(report: ReportBody, body: bytes, depth_max: int, prefix: str) -> list[Problem]:
    problems = []
    if not NAME.fullmatch(report.source_system):
        problems.append(
            Problem(f"{prefix}/source_system", "1 to 100 letters, digits, or . _ : -, beginning with a letter or digit")
        )
    for name, length in (("exception_type", 100), ("domain", 100), ("external_id", 200)):
        value = getattr(report, name)
        if value is not None and (not 1 <= len(value) <= length or not value.isprintable()):
            problems.append(Problem(f"{prefix}/{name}", f"1 to {length} printable characters"))
    if report.occurred_at is not None and report.occurred_at.tzinfo is None:
        problems.append(Problem(f"{prefix}/occurred_at", "a time needs its zone, for example 2026-01-31T12:00:00Z"))
    elif report.occurred_at is not None and not is_keepable(report.occurred_at):
        problems.append(Problem(f"{prefix}/occurred_at", BOUNDS))
    deep = _search(report.payload, depth_max, f"{prefix}/payload", suspect=_SUSPECT.search(body) is not None)
    return problems + ([deep] if deep else [])


def _search(value: Json, depth_left: int, pointer: str, *, suspect: bool) -> Problem | None:
    """The first place that is nested too deep or holds what cannot be kept; only a suspect body is looked at closely."""
    stack: list[tuple[Json, int, str]] = [(value, depth_left, pointer)]
    while stack:
        current, left, place = stack.pop()
        if suspect and (found := _unkeepable(current, place)):
            return found
        if isinstance(current, dict):
            inner = [
                (v, left - 1, f"{place}/{_escape(k)}" if suspect else place)
                for k, v in current.items()
                if suspect or type(v) in (dict, list)
            ]
        elif isinstance(current, list):
            inner = [
                (v, left - 1, f"{place}/{n}" if suspect else place)
                for n, v in enumerate(current)
                if suspect or type(v) in (dict, list)
            ]
        else:
            continue
        if left <= 0:
            return Problem(place, "nested too deep")
        stack += inner
    return None


def _unkeepable(value: Json, place: str) -> Problem | None:
    if isinstance(value, str) and "\0" in value:
        return Problem(place, "holds a NUL character")
    if isinstance(value, dict) and any("\0" in key for key in value):
        return Problem(place, "has a key with a NUL character")
    if isinstance(value, int) and not INT_MIN <= value <= INT_MAX:
        return Problem(place, "an integer beyond 64 bits; send it as text")
    return None


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _problem(error: msgspec.ValidationError, prefix: str) -> Problem:
    """`Expected `str`, got `int` - at `$.source_system`` as pointer and text."""
    detail, _, path = str(error).partition(" - at `$")
    pointer = "".join(f"/{part}" for part in re.findall(r"[^.\[\]`]+", path))
    return Problem(prefix + pointer, detail.replace("`", "'"))


def _rejected(problems: list[Problem]) -> Rejected:
    return Rejected("The report does not fit; see errors. Nothing was stored.", problems=problems)


def _too_deep(pointer: str, depth_max: int) -> Rejected:
    return _rejected([Problem(pointer, f"nested deeper than {depth_max} levels")])


def _too_large(bytes_max: int) -> TooLarge:
    return TooLarge(f"The body is larger than {bytes_max} bytes; send it in parts.", bytes_max=bytes_max)
