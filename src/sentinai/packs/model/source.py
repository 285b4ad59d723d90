"""How does a raw payload become an exception?"""

from typing import Annotated

from sentinai.models.json import Json
from sentinai.packs.annotated import doc
from sentinai.packs.model.values import ByName, ConditionText, DurationText, Entries, Name, Part, SensitivePath, Text


class SourceDeclaration(Part, frozen=True):
    """How a raw payload becomes an exception"""

    name: Annotated[Name, doc("Name, shown in the evidence")]
    match: Annotated[ConditionText, doc("This source takes the report")]
    items: Annotated[Text | None, doc("CEL giving a list: one exception for each element")] = None
    fields: Annotated[ByName[Json], doc("→ normalizedContext; values may hold ${…}")] = {}
    occurred_at: Annotated[Text | None, doc("When it happened (RFC 3339)")] = None
    dedup_key: Annotated[Text | None, doc("Same key, still open: the same exception")] = None
    dedup_window: Annotated[DurationText | None, doc("After this long without a recurrence, a new exception")] = None
    title: Annotated[Text | None, doc("Title; may hold ${…}")] = None
    sensitive: Annotated[
        Entries[SensitivePath], doc("Paths masked before storage, beginning with item or rawPayload")
    ] = ()

    @property
    def items_template(self) -> str | None:
        """`items` is a bare expression; as a template it keeps the list."""
        return "${" + self.items + "}" if self.items is not None else None
