"""How do the rows of a query become a response?"""

from collections.abc import Iterable
from typing import TypeVar

from pydantic import BaseModel

from sentinai.models.http.base import Page

Model = TypeVar("Model", bound=BaseModel)


def page_of(model: type[Model], items: Iterable[object], next_cursor: str | None = None) -> Page[Model]:
    """One page of `model`, whose fields are attributes of the items: `page_of(View, *listed)`."""
    return Page[model](items=[model.model_validate(item) for item in items], next_cursor=next_cursor)  # type: ignore[valid-type]
