"""What does an annotated type say: its plain type, its sentence and its constraints?"""

from types import NoneType, UnionType
from typing import Annotated, NamedTuple, Union, get_args, get_origin

import msgspec

from sentinai.models.json import Json


def doc(sentence: str, **keywords: Json) -> msgspec.Meta:
    """A field's sentence, and constraints as keywords of JSON Schema."""
    return msgspec.Meta(description=sentence, extra_json_schema=keywords or None)


def limited(note: str = "", **keywords: Json) -> msgspec.Meta:
    """Constraints of a type that many fields have; `note` is added to the sentence of each."""
    return msgspec.Meta(extra_json_schema=keywords or None, extra={"note": note} if note else None)


class Described(NamedTuple):
    """A type without its annotations and without `| None`; what was said nearest to the field comes last."""

    type: object
    metas: tuple[msgspec.Meta, ...]

    @property
    def sentence(self) -> str:
        said = [meta.description for meta in self.metas if meta.description]
        notes = [str(meta.extra["note"]) for meta in self.metas if meta.extra and "note" in meta.extra]
        return (said[-1] if said else "") + (f" ({notes[-1]})" if said and notes else "")

    @property
    def keywords(self) -> dict[str, Json]:
        """Keywords of JSON Schema."""
        return {name: value for meta in self.metas for name, value in (meta.extra_json_schema or {}).items()}

    def said(self, name: str) -> str | None:
        """What else the annotations say under this name."""
        found = [meta.extra[name] for meta in self.metas if meta.extra and name in meta.extra]
        return str(found[-1]) if found else None


def described(annotation: object) -> Described:
    metas: tuple[msgspec.Meta, ...] = ()
    while True:
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            annotation, *more = arguments
            metas = (*(meta for meta in more if isinstance(meta, msgspec.Meta)), *metas)
        elif origin in (Union, UnionType) and len(arguments) == 2 and NoneType in arguments:
            annotation = next(one for one in arguments if one is not NoneType)
        else:
            return Described(annotation, metas)
