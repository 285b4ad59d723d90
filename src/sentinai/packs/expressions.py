"""How are a pack's conditions and templates compiled, and what do they answer?

CEL through `cel_expr_python`. Compilation checks names and types; evaluation never raises: a missing value or a wrong
type makes a condition not match, with the reason, and a template raise Rejected. The library returns errors as values.
"""

import base64
import hashlib
import ipaddress
import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings

from sentinai.errors import Problem, Rejected

EXPRESSION_CHARS_MAX = 4_096
COMPREHENSION_DEPTH_MAX = 2
"""Nested all/exists/map/filter: with the bounded payload this bounds the steps of an evaluation."""

Activation = cel.Activation
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
VARIABLES: Mapping[Scope, Mapping[str, Any]] = {
    Scope.SOURCE: _SOURCE,
    Scope.DECISION: _DECISION,
    Scope.PLAYBOOK: _DECISION | {"steps": _T.DYN},
    Scope.TOOL: {"input": _T.DYN},
}


def _in_cidr(ip: str, net: str) -> bool:
    return ipaddress.ip_address(ip) in ipaddress.ip_network(net, strict=False)


def _glob(text: str, pattern: str) -> bool:
    return fnmatchcase(text, pattern)


def _semver(text: str) -> dict[str, Any]:
    match = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?", text)
    if match is None:
        raise ValueError(f"{text[:64]!r} is not a semantic version")
    major, minor, patch = (int(part) for part in match.groups()[:3])
    return {"major": major, "minor": minor, "patch": patch, "prerelease": match[4] or ""}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _function(name: str, parameters: int, result: Any, impl: Any) -> Any:
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


def activation(scope: Scope, values: Mapping[str, Any]) -> Activation:
    """The variables of a scope, converted once for any number of expressions. Every variable has to be given."""
    return _ENVIRONMENTS[scope].Activation({name: values[name] for name in VARIABLES[scope]})


class Verdict(NamedTuple):
    """`reason` says why a condition could not be evaluated; it does not match then."""

    matched: bool
    reason: str | None


class Condition:
    """A compiled expression of type bool."""

    __slots__ = ("_expression", "text")

    def __init__(self, text: str, expression: Any) -> None:
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
        value = self._expression.eval(facts)
        kind = value.type()
        if kind == _BOOL:
            return Verdict(value.value(), None)
        if kind == _ERROR:
            return Verdict(False, str(value.value()))
        return Verdict(False, f"gives {kind.name().lower()}, not a bool")


class Template:
    """A JSON value whose strings may contain `${…}`; a string that is one `${…}` as a whole keeps the value's type."""

    __slots__ = ("_render", "constant", "source")

    def __init__(self, source: Any, render: Any, constant: bool) -> None:
        self.source = source
        self.constant = constant
        self._render = render

    @classmethod
    def compile(cls, value: Any, scope: Scope) -> "Template":
        """Raises Rejected naming every expression that does not compile."""
        problems: list[Problem] = []
        render = _compile_value(value, scope, "", problems)
        if problems:
            raise Rejected("; ".join(p.detail for p in problems), problems=problems)
        return cls(value, render, render is None)

    def render(self, facts: Activation) -> Any:
        """The value with every `${…}` replaced. Raises Rejected when one cannot be evaluated."""
        return self.source if self._render is None else self._render(facts)


def _compile(text: str, scope: Scope) -> Any:
    if len(text) > EXPRESSION_CHARS_MAX:
        raise Rejected(f"an expression may have {EXPRESSION_CHARS_MAX} characters, this one has {len(text)}")
    if _comprehension_depth(text) > COMPREHENSION_DEPTH_MAX:
        raise Rejected(f"all, exists, map and filter may be nested {COMPREHENSION_DEPTH_MAX} deep: {text}")
    try:
        return _ENVIRONMENTS[scope].compile(text)
    except (RuntimeError, ValueError, UnicodeError) as error:
        raise _compile_error(text, str(error)) from error


def _compile_error(text: str, message: str) -> Rejected:
    found = [
        Problem("", f"{m[3].strip()} in: {text}", int(m[1]), int(m[2]))
        for m in re.finditer(r"<input>:(\d+):(\d+): (.*)", message)
    ]
    problems = found or [Problem("", f"{message.splitlines()[0] if message else 'cannot be compiled'} in: {text}")]
    return Rejected("; ".join(p.detail for p in problems), problems=problems)


_TOKENS = re.compile(
    r"""r?'(?:\\.|[^'\\])*'|r?"(?:\\.|[^"\\])*"|\b(all|exists|exists_one|map|filter|transformList|transformMap)\s*\(|[()]"""
)


def _comprehension_depth(text: str) -> int:
    """How deep comprehension macros are nested; text inside string literals does not count."""
    stack: list[bool] = []
    deepest = 0
    for token in _TOKENS.finditer(text):
        if token[1]:
            stack.append(True)
            deepest = max(deepest, sum(stack))
        elif token[0] == "(":
            stack.append(False)
        elif token[0] == ")" and stack:
            stack.pop()
    return deepest


def _compile_value(value: Any, scope: Scope, pointer: str, problems: list[Problem]) -> Any:
    """A function of the activation, or None for a value without any expression."""
    if isinstance(value, str):
        return _compile_text(value, scope, pointer, problems) if "${" in value else None
    if isinstance(value, dict):
        parts = {k: _compile_value(v, scope, f"{pointer}/{k}", problems) for k, v in value.items()}
        if not any(parts.values()):
            return None
        return lambda facts: {k: value[k] if render is None else render(facts) for k, render in parts.items()}
    if isinstance(value, list):
        renders = [_compile_value(v, scope, f"{pointer}/{n}", problems) for n, v in enumerate(value)]
        if not any(renders):
            return None
        return lambda facts: [value[n] if render is None else render(facts) for n, render in enumerate(renders)]
    return None


def _compile_text(text: str, scope: Scope, pointer: str, problems: list[Problem]) -> Any:
    parts: list[Any] = []
    try:
        for literal, expression in split_template(text):
            parts.append(literal if expression is None else (expression, _compile(expression, scope)))
    except Rejected as error:
        problems += [Problem(pointer, p.detail, p.line, p.column) for p in error.problems] or [
            Problem(pointer, error.message)
        ]
        return lambda _: None
    if len(parts) == 1 and isinstance(parts[0], tuple):
        expression, compiled = parts[0]
        return lambda facts: _plain(compiled.eval(facts), expression)
    return lambda facts: "".join(p if isinstance(p, str) else _text(_plain(p[1].eval(facts), p[0])) for p in parts)


def split_template(text: str) -> list[tuple[str, str | None]]:
    """`("literal", None)` and `("", "expression")` parts in order; `$${` stands for a literal `${`."""
    parts: list[tuple[str, str | None]] = []
    literal, at = "", 0
    while at < len(text):
        if text.startswith("$${", at):
            literal, at = literal + "${", at + 3
        elif text.startswith("${", at):
            end = _closing_brace(text, at + 2)
            if literal:
                parts.append((literal, None))
            parts.append(("", text[at + 2 : end]))
            literal, at = "", end + 1
        else:
            literal, at = literal + text[at], at + 1
    return [*parts, (literal, None)] if literal or not parts else parts


def _closing_brace(text: str, at: int) -> int:
    """Where the expression that begins here ends; braces and quotes inside it are its own."""
    depth, quote = 1, ""
    start = at
    while at < len(text):
        char = text[at]
        if quote:
            if char == "\\":
                at += 1
            elif char == quote:
                quote = ""
        elif char in "'\"":
            quote = char
        elif char in "{}":
            depth += 1 if char == "{" else -1
            if depth == 0:
                return at
        at += 1
    raise Rejected(f"`${{` without its `}}` in: {text[start - 2 :]}")


def _plain(value: Any, expression: str) -> Any:
    """The value as JSON. Raises Rejected for an error or for something JSON has no form for."""
    if value.type() == _ERROR:
        raise Rejected(f"${{{expression}}}: {value.value()}")
    try:
        return _json(value.plain_value(), expression)
    except (TypeError, RuntimeError) as error:
        raise Rejected(f"${{{expression}}}: gives {value.type().name().lower()}, which has no JSON form") from error


def _json(value: Any, expression: str) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Rejected(f"${{{expression}}}: gives {value}, which has no JSON form")
        return value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, list):
        return [_json(inner, expression) for inner in value]
    if isinstance(value, dict):
        return {_key(k): _json(v, expression) for k, v in sorted(value.items(), key=lambda pair: str(pair[0]))}
    raise Rejected(f"${{{expression}}}: gives {type(value).__name__}, which has no JSON form")


def _key(key: Any) -> str:
    return key if isinstance(key, str) else _text(key)


def _text(value: Any) -> str:
    """A value inside a longer text."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        raise Rejected("a list or a map inside a longer text: use it as a value of its own")
    return str(value)
