"""What do all requests and responses have in common?"""

from datetime import datetime
from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from sentinai.models.instant import BOUNDS, is_keepable
from sentinai.models.json import Json

T = TypeVar("T")

IDENTIFIER = r"^[a-zA-Z0-9][a-zA-Z0-9._:-]{0,99}$"

DEPTH_MAX = 64


def _require_instant(instant: datetime) -> datetime:
    if not is_keepable(instant):
        raise ValueError(BOUNDS)
    return instant


Instant = Annotated[AwareDatetime, AfterValidator(_require_instant)]
"""A time with its zone, inside the bounds that every part of the system can keep."""


class Request(BaseModel):
    """Bodies are strict: an unknown field is an error, so that a typing mistake is never ignored."""

    model_config = ConfigDict(extra="forbid", str_max_length=100_000, str_strip_whitespace=False)

    @model_validator(mode="before")
    @classmethod
    def _keepable(cls, value: Json) -> Json:
        """Nothing that cannot be stored exactly: NUL, lone surrogates, integers beyond 64 bits, endless nesting."""
        _require_keepable(value, DEPTH_MAX)
        return value


class Response(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Page(Response, Generic[T]):
    """One page of a list; ask again with `cursor=<next_cursor>` until it is null."""

    items: list[T]
    next_cursor: str | None = Field(None, description="Opaque; null on the last page.")


class ProblemItem(Response):
    pointer: str = Field(description="JSON pointer into the request body, or the parameter's name.")
    detail: str
    line: int | None = None
    column: int | None = None


class ProblemResponse(Response):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    correlation_id: str
    errors: list[ProblemItem] = []
    details: dict[str, Json] = Field(default_factory=dict, description="Machine-readable facts about this problem.")


def _require_keepable(value: Json, depth_left: int) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("holds a NUL character")
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            raise ValueError("holds half of a surrogate pair")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("holds an integer beyond 64 bits; send it as text")
    elif isinstance(value, dict | list):
        if depth_left == 0:
            raise ValueError(f"is nested deeper than {DEPTH_MAX} levels")
        for inner in [*value, *value.values()] if isinstance(value, dict) else value:
            _require_keepable(inner, depth_left - 1)
