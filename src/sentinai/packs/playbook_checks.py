"""Do the playbooks of a pack hold together: actions, parameters, tools, steps, and which of two is taken?"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from sentinai.errors import Rejected
from sentinai.packs.expressions import Scope, split_template
from sentinai.packs.value_checks import Finding, condition, duration, template, unique

UNCLASSIFIED = "UNCLASSIFIED"
NEEDED: Mapping[str, frozenset[str]] = {
    "notify": frozenset({"channel", "message"}),
    "assign_owner": frozenset({"owner"}),
    "set_status": frozenset({"status", "reason"}),
    "add_comment": frozenset({"text"}),
    "call_tool": frozenset({"tool"}),
    "request_approval": frozenset({"reason"}),
}
ACTIONS = tuple(NEEDED)
OPTIONAL: Mapping[str, frozenset[str]] = {
    "call_tool": frozenset({"input"}),
    "request_approval": frozenset({"expiresAfter"}),
}
STATUSES = ("RESOLVED", "ESCALATED")

_STEP_USED = re.compile(r"(?<![\w.])steps\s*\.\s*\??\s*([A-Za-z_][A-Za-z0-9_]*)")


class Known(NamedTuple):
    """The names of the domain that playbooks may use."""

    types: Mapping[str, Any]
    tools: Mapping[str, Any]


def playbook_findings(playbooks: Sequence[Any], place: str, known: Known | None) -> Iterator[Finding]:
    """`known` is None for a tenant's own playbooks, as long as the domain pack is not at hand."""
    seen: dict[Any, Any] = {}
    for n, playbook in enumerate(playbooks):
        yield from _playbook(playbook, f"{place}/{n}", known)
        identity = playbook.get("name"), playbook.get("version", 1)
        if identity[0] is not None and identity in seen:
            yield f"{place}/{n}/name", f"{identity[0]!r} version {identity[1]} is there twice"
        seen[identity] = n
    for (_, one), (n, other) in combinations(enumerate(playbooks), 2):
        if _ties(one, other):
            yield f"{place}/{n}", f"can never be told from playbook {one.get('name')!r}: give one a higher priority"


def _ties(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Same rank, same `when`, and an exception that both of them fit."""
    ranks = [(p.get("priority", 0), p.get("version", 1), p.get("match", {}).get("when")) for p in (one, other)]
    if ranks[0] != ranks[1]:
        return False
    criteria = [
        [set(p.get("match", {}).get(key, [])) for p in (one, other)] for key in ("exceptionTypes", "severities")
    ]
    return all((not mine and not theirs) or mine & theirs for mine, theirs in criteria)


def _playbook(playbook: Mapping[str, Any], place: str, known: Known | None) -> Iterator[Finding]:
    match = playbook.get("match", {})
    for n, name in enumerate(match.get("exceptionTypes", [])):
        if known is not None and name not in known.types and name != UNCLASSIFIED:
            yield f"{place}/match/exceptionTypes/{n}", f"there is no type {name!r}"
    yield from condition(match.get("when"), Scope.DECISION, f"{place}/match/when")
    steps = playbook.get("steps", [])
    yield from unique(steps, "name", f"{place}/steps")
    for n, step in enumerate(steps):
        here = f"{place}/steps/{n}"
        yield from _action(step, here, known)
        yield from condition(step.get("when"), Scope.PLAYBOOK, f"{here}/when")
        yield from template(step.get("params"), Scope.PLAYBOOK, f"{here}/params")
        for name in sorted(_steps_used(step) - {s.get("name") for s in steps[:n]}):
            yield here, f"uses steps.{name}, which is no earlier step"


def _steps_used(step: Mapping[str, Any]) -> set[str]:
    expressions = [step.get("when", ""), *_expressions(step.get("params", {}))]
    return {name for expression in expressions for name in _STEP_USED.findall(expression)}


def _expressions(value: Any) -> Iterator[str]:
    """Every CEL expression inside the templates of a value."""
    if isinstance(value, str):
        try:
            yield from (expression for _, expression in split_template(value) if expression is not None)
        except Rejected:
            return  # the check of the template says so
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _expressions(inner)


def _action(step: Mapping[str, Any], place: str, known: Known | None) -> Iterator[Finding]:
    action, params = step.get("action"), step.get("params", {})
    if action is None:
        return
    if action not in ACTIONS:
        hint = "`wait` is not supported in schemaVersion 1 yet; " if action == "wait" else ""
        yield f"{place}/action", f"{hint}there is no action {action!r}; use one of {', '.join(ACTIONS)}"
        return
    needed, optional = NEEDED[action], OPTIONAL.get(action, frozenset())
    for name in sorted(needed - params.keys()):
        yield f"{place}/params", f"{action} needs the parameter `{name}`"
    for name in sorted(params.keys() - needed - optional):
        yield f"{place}/params/{name}", f"{action} has no parameter `{name}`"
    yield from _literals(action, params, f"{place}/params")
    if action == "call_tool" and "tool" in params:
        yield from _call(params, f"{place}/params", known)


def _literals(action: str, params: Mapping[str, Any], place: str) -> Iterator[Finding]:
    """Parameters that are written out can be judged now."""
    for name in sorted(NEEDED[action] & params.keys()):
        if not isinstance(params[name], str) or not params[name]:
            yield f"{place}/{name}", "has to be text"
    status = params.get("status", STATUSES[0])
    if action == "set_status" and isinstance(status, str) and "${" not in status and status not in STATUSES:
        yield f"{place}/status", f"{status!r} is not one of {', '.join(STATUSES)}"
    after = params.get("expiresAfter")
    if action == "request_approval" and after is not None and "${" not in str(after):
        yield from duration(str(after), f"{place}/expiresAfter")


def _call(params: Mapping[str, Any], place: str, known: Known | None) -> Iterator[Finding]:
    tool, content = params["tool"], params.get("input", {})
    if isinstance(tool, str) and "${" in tool:
        yield f"{place}/tool", "the tool's name has to be written out, not computed"
    elif isinstance(tool, str) and known is not None and tool not in known.tools:
        yield f"{place}/tool", f"there is no tool {tool!r}"
    elif isinstance(tool, str) and known is not None and isinstance(content, dict):
        for name in _required(known.tools[tool].get("inputSchema", {})):
            if name not in content:
                yield place, f"tool {tool!r} requires the input `{name}`"


def _required(schema: Mapping[str, Any]) -> Iterable[str]:
    required = schema.get("required", [])
    return [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
