"""Which parameters does an action's type declare, and does a value fit one of them?"""

from collections.abc import Hashable, Iterable, Mapping
from functools import cache
from typing import Literal, NamedTuple, TypeVar, get_args, get_origin

import msgspec

from sentinai.errors import Rejected
from sentinai.models.json import Json
from sentinai.packs.annotated import described
from sentinai.packs.duration import Duration

P = TypeVar("P", bound=msgspec.Struct)


class Parameter(NamedTuple):
    """One field of the type, under the name it has in packs."""

    name: str
    required: bool
    type: object
    sentence: str
    """What it means, for people."""
    refers_to: str | None
    """`tool` or `channel`: the value is the name of one; a tool's name has to be written out."""
    only_with: str | None
    """Makes sense only where this other parameter is given."""


def parameter(
    sentence: str, *, refers_to: Literal["tool", "channel"] | None = None, only_with: str | None = None
) -> msgspec.Meta:
    """What the field of an action's type says about itself; constraints go into a Meta of their own."""
    said = {"refers_to": refers_to, "only_with": only_with}
    return msgspec.Meta(description=sentence, extra={key: value for key, value in said.items() if value is not None})


def parameters_of(declared: type[msgspec.Struct]) -> tuple[Parameter, ...]:
    return _parameters_of(declared)


@cache
def _parameters_of(declared: Hashable) -> tuple[Parameter, ...]:
    assert isinstance(declared, type)
    return tuple(
        Parameter(
            field.encode_name,
            field.required,
            field.type,
            (said := described(field.type)).sentence,
            said.said("refers_to"),
            said.said("only_with"),
        )
        for field in msgspec.structs.fields(declared)
    )


def read_parameters(declared: type[P], values: Mapping[str, Json]) -> P:
    """The rendered parameters of a step as its action's type. Raises Rejected naming the first that does not fit."""
    try:
        found = msgspec.convert(values, declared, dec_hook=_decode)
    except (msgspec.ValidationError, Rejected) as error:
        raise _rejected(declared, values) or Rejected(str(error)) from error
    for one in _conditional(declared):
        if one.name in values and values.get(one.only_with or "") is None:
            raise Rejected(f"parameter {one.name!r}: decides nothing without {one.only_with!r}", parameter=one.name)
    return found


@cache
def _conditional(declared: Hashable) -> tuple[Parameter, ...]:
    """Those that make sense only beside another one."""
    return tuple(one for one in _parameters_of(declared) if one.only_with)


def misfit(one: Parameter, value: Json) -> str | None:
    """Why a value does not fit, in plain words; None when it does."""
    try:
        msgspec.convert(value, one.type, dec_hook=_decode)
    except Rejected as error:
        return error.message
    except msgspec.ValidationError as error:
        inside = "`$" in str(error)  # not the value itself, but something in it
        return str(error) if inside else _wanted(one.type, value) or str(error)
    return None


def _rejected(declared: type[msgspec.Struct], values: Mapping[str, Json]) -> Rejected | None:
    """None when each value fits by itself."""
    for one in parameters_of(declared):
        if one.required and one.name not in values:
            return Rejected(f"parameter {one.name!r} is missing", parameter=one.name)
        reason = misfit(one, values[one.name]) if one.name in values else None
        if reason is not None:
            return Rejected(f"parameter {one.name!r}: {reason}", parameter=one.name)
    return None


def _decode(kind: type, value: Json) -> Duration:
    if kind is Duration:
        if not isinstance(value, str):
            raise Rejected("has to be a duration such as 8h")
        return Duration(value)
    raise NotImplementedError(kind)


_NOUNS: Mapping[object, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
    tuple: "a list",
}


def _wanted(annotation: object, value: Json) -> str | None:
    """None for a type that has no plain words here."""
    plain = described(annotation)
    if get_origin(plain.type) is Literal:
        return f"{value!r:.100} is not one of {', '.join(map(str, get_args(plain.type)))}"
    kind = get_origin(plain.type) or plain.type
    if kind not in _NOUNS:
        return None
    low = _said(meta.min_length if meta.ge is None else meta.ge for meta in plain.metas)
    high = _said(meta.max_length if meta.le is None else meta.le for meta in plain.metas)
    unit = "" if kind in (int, float) else " characters" if kind is str else " entries"
    return f"has to be {_NOUNS[kind]}{_bounds(low, high, unit)}"


def _said(bounds: Iterable[float | None]) -> float | None:
    return next((bound for bound in bounds if bound is not None), None)


def _bounds(low: float | None, high: float | None, unit: str) -> str:
    if low is None:
        return f" of at most {high}{unit}" if high is not None else ""
    return f" of {low} to {high}{unit}" if high is not None else f" of at least {low}{unit}"
