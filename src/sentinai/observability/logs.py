"""How are log lines written? Structured, and with secrets masked in every field."""

import io
import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

from sentinai.models.json import Json

Mask = Callable[[Json], Json]
DEPTH_MAX = 32
"""Levels of a nested field that are written."""
_PLAIN = (str, int, float, type(None))


def configure(level: str, log_format: str, mask: Mask) -> None:
    """Set up logging of this process; `mask` is applied to every line, tracebacks and libraries' lines included."""
    stream: Any = _StandardError()
    renderer: Any = structlog.processors.JSONRenderer()
    if log_format == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _masking(mask),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    logging.setLogRecordFactory(_masked_records(mask))


class _StandardError(io.TextIOBase):
    """Whatever is standard error when a line is written: loggers outlive the stream they were made with."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _masking(mask: Mask) -> structlog.types.Processor:
    def masked(_: object, __: str, event: MutableMapping[str, object]) -> MutableMapping[str, Json]:
        """As one value, so that the names of fields count too."""
        result: MutableMapping[str, Json] = mask({name: _json_like(value) for name, value in event.items()})
        return result

    return masked


def _masked_records(mask: Mask) -> Callable[..., logging.LogRecord]:
    """Records of Python's own logging with text and traceback masked, whichever handler a library sets up for them."""
    formatter = logging.Formatter()

    def record(*args: Any, **more: Any) -> logging.LogRecord:
        made = logging.LogRecord(*args, **more)
        made.msg, made.args = mask(made.getMessage()), None
        if made.exc_info:
            made.exc_text = mask(formatter.formatException(made.exc_info))
        return made

    return record


def _json_like(value: object, depth: int = DEPTH_MAX) -> Json:
    """Anything that is not JSON as the text it would be printed as, which the mask can read."""
    if isinstance(value, _PLAIN):
        return value
    if depth == 0:
        return "…"
    if isinstance(value, dict):
        return {str(name): _json_like(inner, depth - 1) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_json_like(inner, depth - 1) for inner in value]
    return str(value)
