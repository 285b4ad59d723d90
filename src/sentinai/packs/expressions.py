"""How are a pack's conditions and templates compiled, and what do they answer?

CEL through `cel_expr_python`. Compilation checks names and types. A missing value or a wrong type makes a condition
not match, with the reason, and a template raise Rejected. The library returns most errors as values (look at the type),
but raises for a step budget that is used up and for text that is not Unicode; it knows no optional outside of CEL.
"""

import base64
import hashlib
import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, NewType, TypeAlias

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings

from sentinai.errors import Problem, Rejected
from sentinai.models.json import Json
from sentinai.packs.pointer import pointer_part
from sentinai.packs.tokens import closing_brace, nesting

EXPRESSION_CHARS_MAX = 4_096
COMPREHENSION_DEPTH_MAX = 2
"""Nested all/exists/map/filter. The library stops an evaluation after 10,000 iterations in all (measured, 0.1.3)."""
BINDING_DEPTH_MAX = 4
"""Nested cel.bind: each level may double a value, and no budget of the library counts that."""

Activation = NewType("Activation", object)
"""The variables of a scope in the library's own form."""
Cel: TypeAlias = Any
"""A value, type or compiled expression of the library, which comes without types."""
Render: TypeAlias = Callable[[Activation], Json]
_T = cel.Type
_ERROR = cel.Type.ERROR
_BOOL = cel.Type.BOOL


class Scope(Enum):
    """Where an expression stands decides which variables it sees."""

    SOURCE = "source"
    DECISION = "decision"
    PLAYBOOK = "playbook"
    TOOL = "tool"


_SOURCE = {
    "tenantId": _T.STRING,
    "domain": _T.STRING,
    "sourceSystem": _T.STRING,
    "rawPayload": _T.DYN,
    "item": _T.DYN,
    "occurredAt": _T.TIMESTAMP,
    "receivedAt": _T.TIMESTAMP,
    "now": _T.TIMESTAMP,
    "lookups": _T.DYN,
}
_DECISION = {name: kind for name, kind in _SOURCE.items() if name != "item"} | {
    "exceptionType": _T.STRING,
    "severity": _T.STRING,
    "confidence": _T.DOUBLE,
    "normalizedContext": _T.DYN,
    "tags": _T.List(_T.STRING),
    "policyTags": _T.List(_T.STRING),
    "occurrences": _T.INT,
    "sla": _T.Map(_T.STRING, _T.INT),
}
VARIABLES: Mapping[Scope, Mapping[str, Cel]] = {
    Scope.SOURCE: _SOURCE,
    Scope.DECISION: _DECISION,
    Scope.PLAYBOOK: _DECISION | {"steps": _T.DYN},
    Scope.TOOL: {"input": _T.DYN},
}


def _in_cidr(ip: str, net: str) -> bool:
    try:
        return ipaddress.ip_address(ip) in ipaddress.ip_network(net, strict=False)
    except ValueError:  # its message quotes the value, which may be one that is masked in evidence
        raise ValueError("inCidr: not an IP address and a network") from None


def _glob(text: str, pattern: str) -> bool:
    return fnmatchcase(text, pattern)


_SEMVER = re.compile(
    r"v?([0-9]{1,18})\.([0-9]{1,18})\.([0-9]{1,18})(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?", re.ASCII
)


def _semver(text: str) -> dict[str, Json]:
    match = _SEMVER.fullmatch(text)
    if match is None:
        raise ValueError("semver: not a semantic version")
    major, minor, patch = (int(part) for part in match.groups()[:3])
    return {"major": major, "minor": minor, "patch": patch, "prerelease": match[4] or ""}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _function(name: str, parameters: int, result: Cel, impl: Callable[..., Json]) -> Cel:
    overload = cel.Overload(
        id=f"{name}_string", return_type=result, parameters=[_T.STRING] * parameters, is_member=False, impl=impl
    )
    return cel.FunctionDecl(name, [overload])


_FUNCTIONS = cel.CelExtension(
    "sentinai",
    [
        _function("inCidr", 2, _T.BOOL, _in_cidr),
        _function("glob", 2, _T.BOOL, _glob),
        _function("semver", 1, _T.Map(_T.STRING, _T.DYN), _semver),
        _function("hash", 1, _T.STRING, _hash),
    ],
)
_ENVIRONMENTS = {
    scope: cel.NewEnv(
        variables=dict(variables),
        extensions=[
            ext_bindings.ExtBindings(),
            ext_encoders.ExtEncoders(),
            ext_math.ExtMath(),
            ext_optional.ExtOptional(),
            ext_strings.ExtStrings(),
            _FUNCTIONS,
        ],
    )
    for scope, variables in VARIABLES.items()
}


def activation(scope: Scope, values: Mapping[str, Json]) -> Activation:
    """The variables of a scope, converted once for any number of expressions. Every variable has to be given."""
    return Activation(_ENVIRONMENTS[scope].Activation({name: values[name] for name in VARIABLES[scope]}))


class Verdict(NamedTuple):
    """`reason` says why a condition could not be evaluated; it does not match then."""

    matched: bool
    reason: str | None


class Condition:
    """A compiled expression of type bool."""

    __slots__ = ("_expression", "text")

    def __init__(self, text: str, expression: Cel) -> None:
        self.text = text
        self._expression = expression

    @classmethod
    def compile(cls, text: str, scope: Scope) -> "Condition":
        """Raises Rejected, with line and column within the text, for a name or type that does not fit."""
        expression = _compile(text, scope)
        kind = expression.return_type()
        if kind not in (_BOOL, _T.DYN):
            raise Rejected(f"a condition has to be a bool, this one is {kind.name().lower()}: {text}")
        return cls(text, expression)

    def test(self, facts: Activation) -> Verdict:
        try:
            value = self._expression.eval(facts)
            kind = value.type()
            if kind == _BOOL:
                return Verdict(value.value(), None)
            reason = str(value.value()) if kind == _ERROR else f"gives {kind.name().lower()}, not a bool"
        except _RAISED as error:
            reason = _reason(error)
        return Verdict(False, reason)


class Template:
    """A JSON value whose strings may contain `${…}`; a string that is one `${…}` as a whole keeps the value's type."""

    __slots__ = ("_render", "constant", "source")

    def __init__(self, source: Json, render: Render | None, constant: bool) -> None:
        self.source = source
        self.constant = constant
        self._render = render

    @classmethod
    def compile(cls, value: Json, scope: Scope) -> "Template":
        """Raises Rejected naming every expression that does not compile."""
        problems: list[Problem] = []
        render = _compile_value(value, scope, "", problems)
        if problems:
            raise Rejected("; ".join(p.detail for p in problems), problems=problems)
        return cls(value, render, render is None)

    def render(self, facts: Activation) -> Json:
        """The value with every `${…}` replaced. Raises Rejected when one cannot be evaluated."""
        return self.source if self._render is None else self._render(facts)


def _compile(text: str, scope: Scope) -> Cel:
    if not text.isascii() and _LONE_SURROGATE.search(text):
        raise Rejected("an expression holds text that is not Unicode")
    if len(text) > EXPRESSION_CHARS_MAX:
        raise Rejected(f"an expression may have {EXPRESSION_CHARS_MAX} characters, this one has {len(text)}")
    calls = text.count("(")  # nothing is nested deeper than there are calls
    if calls > COMPREHENSION_DEPTH_MAX and nesting(text, _COMPREHENSIONS) > COMPREHENSION_DEPTH_MAX:
        raise Rejected(f"all, exists, map and filter may be nested {COMPREHENSION_DEPTH_MAX} deep: {text}")
    if calls > BINDING_DEPTH_MAX and nesting(text, _BINDINGS) > BINDING_DEPTH_MAX:
        raise Rejected(f"cel.bind may be nested {BINDING_DEPTH_MAX} deep: {text}")
    try:
        return _ENVIRONMENTS[scope].compile(text)
    except (RuntimeError, ValueError) as error:
        raise _compile_error(text, str(error)) from error


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def _compile_error(text: str, message: str) -> Rejected:
    found = [
        Problem("", f"{m[3].strip()} in: {text}", int(m[1]), int(m[2]))
        for m in re.finditer(r"<input>:(\d+):(\d+): (.*)", message)
    ]
    problems = found or [Problem("", f"{message.splitlines()[0] if message else 'cannot be compiled'} in: {text}")]
    return Rejected("; ".join(p.detail for p in problems), problems=problems)


_COMPREHENSIONS = frozenset(
    {"all", "exists", "exists_one", "existsOne", "map", "filter", "transformList", "transformMap"}
)
_BINDINGS = frozenset({"bind"})


def _compile_value(value: Json, scope: Scope, pointer: str, problems: list[Problem]) -> Render | None:
    """A function of the activation, or None for a value without any expression."""
    if isinstance(value, str):
        return _compile_text(value, scope, pointer, problems) if "${" in value else None
    if isinstance(value, dict):
        parts = {k: _compile_value(v, scope, pointer + pointer_part(k), problems) for k, v in value.items()}
        if not any(parts.values()):
            return None
        return lambda facts: {k: value[k] if render is None else render(facts) for k, render in parts.items()}
    if isinstance(value, list):
        renders = [_compile_value(v, scope, f"{pointer}/{n}", problems) for n, v in enumerate(value)]
        if not any(renders):
            return None
        return lambda facts: [value[n] if render is None else render(facts) for n, render in enumerate(renders)]
    return None


def _compile_text(text: str, scope: Scope, pointer: str, problems: list[Problem]) -> Render:
    parts: list[str | _Computed] = []
    try:
        for literal, expression in split_template(text):
            parts.append(literal if expression is None else _Computed(expression, _compile(expression, scope)))
    except Rejected as error:
        problems += [Problem(pointer, p.detail, p.line, p.column) for p in error.problems] or [
            Problem(pointer, error.message)
        ]
        return lambda _: None
    if len(parts) == 1 and isinstance(parts[0], _Computed):
        expression, compiled = parts[0]
        return lambda facts: _plain(compiled, facts, expression)
    return lambda facts: "".join(p if isinstance(p, str) else _text(_plain(p[1], facts, p[0]), p[0]) for p in parts)


class _Computed(NamedTuple):
    expression: str
    compiled: Cel


class TemplatePart(NamedTuple):
    """Either text as it is, or an expression."""

    literal: str
    expression: str | None


def split_template(text: str) -> list[TemplatePart]:
    """The parts in order; `$${` stands for a literal `${`."""
    parts: list[TemplatePart] = []
    literal, at = "", 0
    while at < len(text):
        if text.startswith("$${", at):
            literal, at = literal + "${", at + 3
        elif text.startswith("${", at):
            end = closing_brace(text, at + 2)
            if end is None:
                raise Rejected(f"`${{` without its `}}` in: {text[at:]}")
            if literal:
                parts.append(TemplatePart(literal, None))
            parts.append(TemplatePart("", text[at + 2 : end]))
            literal, at = "", end + 1
        else:
            literal, at = literal + text[at], at + 1
    return [*parts, TemplatePart(literal, None)] if literal or not parts else parts


def _plain(compiled: Cel, facts: Activation, expression: str) -> Json:
    """The value as JSON. Raises Rejected for an error or for something JSON has no form for."""
    try:
        value = compiled.eval(facts)
        if value.type() == _ERROR:
            raise Rejected(f"${{{expression}}}: {value.value()}")
        if _OPTIONAL.search(expression):
            _refuse_optionals(value, expression)
        return _json(value.plain_value(), expression)
    except _RAISED as error:
        raise Rejected(f"${{{expression}}}: {_reason(error)}") from error


_OPTIONAL = re.compile(r"\?|optional|optMap|optFlatMap")
"""Only an expression with one of these can make an optional."""


def _refuse_optionals(value: Cel, expression: str) -> None:
    """Converting a map that holds an optional ends the whole process (library 0.1.3); its accessors call it an error."""
    kind = value.type()
    if kind == _ERROR:
        raise Rejected(f"${{{expression}}}: {_ENDS_AS_OPTIONAL}")
    if kind.name().startswith("MAP"):
        for inner in value.value().values():
            _refuse_optionals(inner, expression)
    elif kind.name().startswith("LIST"):
        for inner in value.value():
            _refuse_optionals(inner, expression)


_RAISED = (RuntimeError, TypeError, SystemError)
"""What the library raises: used-up budget and text that is not Unicode; an optional; a list that holds an optional."""


def _reason(error: Exception) -> str:
    if isinstance(error, RuntimeError):
        return "holds text that is not Unicode" if "basic_string" in str(error) else str(error)
    return _ENDS_AS_OPTIONAL


_ENDS_AS_OPTIONAL = "gives an optional: end it with orValue(…)"


_AS_IT_IS = frozenset({type(None), bool, int, str})


def _json(value: Cel, expression: str) -> Json:
    if type(value) in _AS_IT_IS or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, list):
        return [_json(inner, expression) for inner in value]
    if isinstance(value, dict):
        keys = sorted(value, key=str)
        return {_text(k, expression): _json(value[k], expression) for k in keys}
    if type(value) not in _FORMS:
        gives = value if isinstance(value, float) else type(value).__name__.lower()
        raise Rejected(f"${{{expression}}}: gives {gives}, which has no JSON form")
    return _FORMS[type(value)](value)


def _timestamp(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


def _duration(value: timedelta) -> str:
    seconds, micros = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
    fraction = f".{micros:06d}".rstrip("0") if micros else ""
    return f"{'-' if value < timedelta(0) else ''}{seconds}{fraction}s"


def _base64(value: bytearray) -> str:
    return base64.b64encode(value).decode()


_FORMS: Mapping[type, Callable[[Cel], str]] = {datetime: _timestamp, timedelta: _duration, bytearray: _base64}


def _text(value: Json, expression: str) -> str:
    """A value inside a longer text; a whole number is written without a fraction, as CEL does."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict | list):
        raise Rejected(f"${{{expression}}}: a list or a map inside a longer text; use it as a value of its own")
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)
