"""Which words does a domain have for what its exceptions are about?"""

from typing import Annotated, Literal

from sentinai.models.json import Json
from sentinai.packs.annotated import doc
from sentinai.packs.model.values import ByName, Entries, FreeText, Part


class Attribute(Part, frozen=True):
    """Something that is known of an entity"""

    type: Annotated[Literal["string", "integer", "number", "boolean", "object", "array"], doc("What its values are")]
    required: Annotated[bool, doc("Whether every exception about the entity has it")] = False
    unit: Annotated[FreeText | None, doc("Of a number, for people")] = None
    format: Annotated[FreeText | None, doc("Of a text, for people")] = None
    description: Annotated[FreeText, doc("For people")] = ""


class Entity(Part, frozen=True):
    """Something in the world that exceptions are about"""

    attributes: Annotated[ByName[Attribute], doc("Attributes by name, as normalizedContext has them")] = {}
    relations: Annotated[Entries[Json], doc("How it belongs to others")] = ()
