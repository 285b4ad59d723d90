"""What do all requests and responses have in common?"""

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")

IDENTIFIER = r"^[a-zA-Z0-9][a-zA-Z0-9._:-]{0,99}$"


class Request(BaseModel):
    """Bodies are strict: an unknown field is an error, so that a typing mistake is never ignored."""

    model_config = ConfigDict(extra="forbid", str_max_length=100_000, str_strip_whitespace=False)


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
    details: dict[str, Any] = Field(default_factory=dict, description="Machine-readable facts about this problem.")
