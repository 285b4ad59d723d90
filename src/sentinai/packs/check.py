"""Does a pack hold together? Schema, names, expressions and limits; everything is reported at once, with its place."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jsonschema_rs

from sentinai.errors import Problem, Rejected
from sentinai.packs.document import PackDocument, parse
from sentinai.packs.expressions import Condition, Scope, Template
from sentinai.packs.merge import lineage_of
from sentinai.packs.schema import schema_problems, tool_problems

ACTIONS = ("notify", "assign_owner", "set_status", "add_comment", "call_tool", "request_approval")
UNCLASSIFIED = "UNCLASSIFIED"
LOOPBACK = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/|$)")
_STEP_USED = re.compile(r"\bsteps\.([A-Za-z_][A-Za-z0-9_]*)")
_SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\b[sr]k_(?:live|test|sentinai)_\w{8,}|\bgh[pousr]_\w{20,}|\bxox[abprs]-[\w-]{10,}"
)
Finding = tuple[str, str]
"""(pointer, detail)"""


def load(text: str | bytes) -> PackDocument:
    """Parse and check. Raises Rejected with all problems."""
    document = parse(text)
    problems = check(document)
    if problems:
        raise Rejected(f"The pack has {len(problems)} problem(s); see errors.", problems=problems)
    return document


def check(document: PackDocument) -> list[Problem]:
    """All problems, in the order of the document. What does not fit the schema is not looked at any closer."""
    problems = schema_problems(document)
    broken = tuple(p.pointer for p in problems)
    findings = domain_findings if document.kind == "DomainPack" else policy_findings
    found = [*findings(_Tolerant(document.content)), *_secrets(document.content, "")]
    problems += [
        document.problem(pointer, detail) for pointer, detail in found if not pointer.startswith(_below(broken))
    ]
    return sorted(problems, key=lambda p: (p.line or 0, p.column or 0))


def check_tool(name: str, definition: Mapping[str, Any]) -> list[Problem]:
    """The same for one tool registered by itself."""
    problems = tool_problems(definition)
    if problems:
        return problems
    return [Problem(f"/definition{pointer}", detail) for pointer, detail in _tool(name, definition, "")]


def check_pair(domain: Mapping[str, Any], policy: Mapping[str, Any]) -> list[Problem]:
    """Does the policy fit the domain: its tools and types exist, and its guardrails only tighten?"""
    found: list[Finding] = []
    if domain["domainName"] != policy["domainName"]:
        found.append(("/domainName", f"is {policy['domainName']!r}, the domain pack's is {domain['domainName']!r}"))
    tools, types = domain.get("tools", {}), domain["exceptionTypes"]
    for n, tool in enumerate(policy["approvedTools"]):
        if tool not in tools:
            found.append((f"/approvedTools/{n}", f"the domain pack has no tool {tool!r}"))
    for key in ("customSeverityOverrides", "slaOverrides", "humanApprovalRules"):
        for n, entry in enumerate(policy.get(key, [])):
            if "exceptionType" in entry and entry["exceptionType"] not in types:
                found.append((f"/{key}/{n}/exceptionType", f"the domain pack has no type {entry['exceptionType']!r}"))
    known = {"tools": tools, "exceptionTypes": types}
    found += _playbooks(policy.get("customPlaybooks", []), "/customPlaybooks", known)
    found += _loosened(domain.get("guardrails", {}), policy.get("customGuardrails", {}))
    channels = policy.get("notifications", {}).get("channels", {})
    for n, playbook in enumerate(domain.get("playbooks", [])):
        for step in playbook["steps"]:
            channel = step.get("params", {}).get("channel", "")
            if step["action"] == "notify" and "${" not in str(channel) and channel not in channels:
                detail = (
                    f"playbook {playbook['name']!r} (number {n + 1}) notifies channel {channel!r}, which is not here"
                )
                found.append(("/notifications/channels", detail))
    return [Problem(pointer, detail) for pointer, detail in found]


def _loosened(domain: Mapping[str, Any], tenant: Mapping[str, Any]) -> Iterator[Finding]:
    free = domain.get("overridable", [])
    threshold = "humanApprovalThreshold"
    if threshold in tenant and threshold not in free and tenant[threshold] < domain.get(threshold, 0):
        yield f"/customGuardrails/{threshold}", f"loosens the domain's {domain[threshold]}, which is not overridable"
    for kind, names in tenant.get("allowLists", {}).items():
        allowed = domain.get("allowLists", {}).get(kind)
        extra = set(names) - set(allowed) if allowed is not None else set()
        if extra and "allowLists" not in free:
            yield f"/customGuardrails/allowLists/{kind}", f"allows {', '.join(sorted(extra))} beyond the domain's list"
    for severity, gate in tenant.get("severityGates", {}).items():
        gated = domain.get("severityGates", {}).get(severity, {}).get("requireApproval", False)
        if gated and not gate.get("requireApproval") and "severityGates" not in free:
            yield f"/customGuardrails/severityGates/{severity}", "opens a gate of the domain, which is not overridable"


def domain_findings(pack: Mapping[str, Any]) -> Iterator[Finding]:
    """Names, expressions and limits of a Domain Pack."""
    types, tools = pack.get("exceptionTypes", {}), pack.get("tools", {})
    yield from _unique(pack.get("sources", []), "name", "/sources")
    for n, source in enumerate(pack.get("sources", [])):
        yield from _source(source, f"/sources/{n}")
    for name, kind in types.items():
        yield from _type(name, kind, types, f"/exceptionTypes/{name}")
    yield from _unique(pack.get("severityRules", []), "id", "/severityRules")
    for n, rule in enumerate(pack.get("severityRules", [])):
        yield from _condition(rule.get("condition"), Scope.DECISION, f"/severityRules/{n}/condition")
        yield from _severity(rule.get("severity"), f"/severityRules/{n}/severity")
    for name, tool in tools.items():
        yield from _tool(name, tool, f"/tools/{name}")
    known = {"tools": tools, "exceptionTypes": types}
    yield from _playbooks(pack.get("playbooks", []), "/playbooks", known)
    yield from _lists(pack.get("guardrails", {}), "/guardrails", tools)
    yield from _cases(pack, types)


def policy_findings(pack: Mapping[str, Any]) -> Iterator[Finding]:
    """Expressions and limits of a Tenant Policy Pack; `check_pair` looks at its names."""
    for key in ("humanApprovalRules", "customSeverityOverrides", "routing"):
        for n, entry in enumerate(pack.get(key, [])):
            yield from _condition(entry.get("when"), Scope.DECISION, f"/{key}/{n}/when")
    for name, channel in pack.get("notifications", {}).get("channels", {}).items():
        place = f"/notifications/channels/{name}"
        if channel.get("provider") == "webhook" and not channel.get("url"):
            yield place, "a webhook needs a url"
        yield from _url(channel.get("url"), f"{place}/url")
    yield from _playbooks(pack.get("customPlaybooks", []), "/customPlaybooks", None)


def _source(source: Mapping[str, Any], place: str) -> Iterator[Finding]:
    yield from _condition(source.get("match"), Scope.SOURCE, f"{place}/match")
    if source.get("items"):
        yield from _template("${" + str(source["items"]) + "}", Scope.SOURCE, f"{place}/items")
    for key in ("fields", "occurredAt", "dedupKey", "title"):
        yield from _template(source.get(key), Scope.SOURCE, f"{place}/{key}")


def _type(name: str, kind: Mapping[str, Any], types: Mapping[str, Any], place: str) -> Iterator[Finding]:
    parent = kind.get("parentType")
    if parent is not None and parent not in types:
        yield f"{place}/parentType", f"there is no type {parent!r}"
    elif parent is not None and name in lineage_of(parent, types):
        yield f"{place}/parentType", f"{name!r} is its own ancestor"
    if name == UNCLASSIFIED:
        yield place, f"{UNCLASSIFIED} is the platform's own word"
    rules = kind.get("detectionRules", [])
    yield from _unique(rules, "id", f"{place}/detectionRules")
    for n, rule in enumerate(rules):
        yield from _condition(rule.get("condition"), Scope.DECISION, f"{place}/detectionRules/{n}/condition")
    yield from _template(kind.get("title"), Scope.DECISION, f"{place}/title")


def _severity(severity: Any, place: str) -> Iterator[Finding]:
    if isinstance(severity, str) and "${" not in severity and severity not in ("LOW", "MEDIUM", "HIGH", "CRITICAL"):
        yield place, f"{severity!r} is not one of LOW, MEDIUM, HIGH, CRITICAL"
    yield from _template(severity, Scope.DECISION, place)


def _tool(name: str, tool: Mapping[str, Any], place: str) -> Iterator[Finding]:
    for key in ("inputSchema", "outputSchema"):
        if key in tool:
            yield from _json_schema(tool[key], f"{place}/{key}")
    endpoint = tool.get("endpoint")
    if tool.get("provider") in ("http", "webhook") and endpoint is None:
        yield place, f"tool {name!r} is reached by {tool['provider']} and needs an endpoint"
    if tool.get("provider") == "http" and "outputSchema" not in tool:
        yield place, f"tool {name!r} needs an outputSchema: nothing else says what its answer may be"
    auth = tool.get("auth", {})
    if auth.get("type", "none") != "none" and not auth.get("secret"):
        yield f"{place}/auth", "this kind of auth needs a secret's name"
    if endpoint:
        yield from _url(endpoint.get("url"), f"{place}/endpoint/url")
        for key in ("url", "headers", "body"):
            yield from _template(endpoint.get(key), Scope.TOOL, f"{place}/endpoint/{key}")


def _json_schema(schema: Any, place: str) -> Iterator[Finding]:
    try:
        jsonschema_rs.validator_for(schema)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        yield place, f"is not a valid JSON Schema: {str(error).splitlines()[0]}"


def _url(url: Any, place: str) -> Iterator[Finding]:
    if not isinstance(url, str):
        return
    if not url.startswith("https://") and not LOOPBACK.match(url):
        yield place, "has to be https (plain http only to this machine itself)"
    elif "${" in url.partition("://")[2].partition("/")[0]:
        yield place, "the host cannot be computed"


def _playbooks(playbooks: Iterable[Any], place: str, known: Mapping[str, Any] | None) -> Iterator[Finding]:
    seen: dict[Any, str] = {}
    for n, playbook in enumerate(playbooks):
        here = f"{place}/{n}"
        yield from _playbook(playbook, here, known)
        match = playbook.get("match", {})
        identity = "name", playbook.get("name"), playbook.get("version", 1)
        tie = (
            playbook.get("priority", 0),
            tuple(sorted(match.get("exceptionTypes", []))),
            tuple(sorted(match.get("severities", []))),
            str(match.get("when")),
        )
        for key, word in ((identity, "has the same name and version as"), (tie, "can never be told from")):
            if key in seen:
                yield here, f"{word} playbook {seen[key]!r}"
            seen[key] = playbook.get("name")


def _playbook(playbook: Mapping[str, Any], place: str, known: Mapping[str, Any] | None) -> Iterator[Finding]:
    match = playbook.get("match", {})
    for n, name in enumerate(match.get("exceptionTypes", [])):
        if known is not None and name not in known["exceptionTypes"] and name != UNCLASSIFIED:
            yield f"{place}/match/exceptionTypes/{n}", f"there is no type {name!r}"
    yield from _condition(match.get("when"), Scope.DECISION, f"{place}/match/when")
    steps = playbook.get("steps", [])
    yield from _unique(steps, "name", f"{place}/steps")
    for n, step in enumerate(steps):
        yield from _step(step, f"{place}/steps/{n}", {s.get("name") for s in steps[:n]}, known)


def _step(step: Mapping[str, Any], place: str, earlier: set[Any], known: Mapping[str, Any] | None) -> Iterator[Finding]:
    action, params = step.get("action"), step.get("params", {})
    if action not in ACTIONS:
        yield f"{place}/action", f"there is no action {action!r}; use one of {', '.join(ACTIONS)}"
    if action == "call_tool" and (not isinstance(params.get("tool"), str) or "${" in params["tool"]):
        yield f"{place}/params", "call_tool names its tool as plain text"
    elif action == "call_tool" and known is not None and params["tool"] not in known["tools"]:
        yield f"{place}/params/tool", f"there is no tool {params['tool']!r}"
    yield from _condition(step.get("when"), Scope.PLAYBOOK, f"{place}/when")
    yield from _template(params, Scope.PLAYBOOK, f"{place}/params")
    for name in sorted(set(_STEP_USED.findall(f"{step.get('when', '')} {params}")) - earlier):
        yield place, f"uses steps.{name}, which is no earlier step"


def _lists(guardrails: Mapping[str, Any], place: str, tools: Mapping[str, Any]) -> Iterator[Finding]:
    for which in ("allowLists", "blockLists"):
        lists = guardrails.get(which, {})
        for kind, names in (("tools", tools), ("actions", ACTIONS)):
            for n, name in enumerate(lists.get(kind, [])):
                if name not in names:
                    yield f"{place}/{which}/{kind}/{n}", f"there is no {kind[:-1]} {name!r}"


def _cases(pack: Mapping[str, Any], types: Mapping[str, Any]) -> Iterator[Finding]:
    playbooks = {p.get("name") for p in pack.get("playbooks", [])}
    for s, suite in enumerate(pack.get("testSuites", [])):
        for n, case in enumerate(suite.get("cases", [])):
            expected, place = case.get("expected", {}), f"/testSuites/{s}/cases/{n}/expected"
            wanted = expected.get("exceptionType", UNCLASSIFIED)
            if wanted not in types and wanted != UNCLASSIFIED:
                yield f"{place}/exceptionType", f"there is no type {wanted!r}"
            if expected.get("playbook") is not None and expected["playbook"] not in playbooks:
                yield f"{place}/playbook", f"there is no playbook {expected['playbook']!r}"


def _unique(entries: Iterable[Any], key: str, place: str) -> Iterator[Finding]:
    seen = set()
    for n, entry in enumerate(entries):
        if entry.get(key) in seen:
            yield f"{place}/{n}/{key}", f"{entry[key]!r} is there twice"
        seen.add(entry.get(key))


def _condition(text: Any, scope: Scope, place: str) -> Iterator[Finding]:
    if isinstance(text, str):
        try:
            Condition.compile(text, scope)
        except Rejected as error:
            yield from _expression(error, place)


def _template(value: Any, scope: Scope, place: str) -> Iterator[Finding]:
    if value is not None:
        try:
            Template.compile(value, scope)
        except Rejected as error:
            yield from _expression(error, place)


def _expression(error: Rejected, place: str) -> Iterator[Finding]:
    for problem in error.problems or (Problem("", error.message),):
        at = f" (line {problem.line}, column {problem.column} of the expression)" if problem.line else ""
        yield place + problem.pointer, problem.detail + at


def _secrets(value: Any, place: str) -> Iterator[Finding]:
    if isinstance(value, str) and _SECRET.search(value):
        yield place, "looks like a secret: name one instead (secret: NAME)"
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _secrets(inner, f"{place}/{key}")
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield from _secrets(inner, f"{place}/{n}")


def _below(broken: tuple[str, ...]) -> tuple[str, ...]:
    """A finding at or below one of these places says nothing new; the root would hide everything."""
    return tuple(pointer for pointer in broken if pointer.count("/") > 2)


class _Tolerant(dict[str, Any]):
    """The content, with wrongly typed parts left out, so that the checks need not repeat the schema."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        super().__init__({k: _pruned(v, _SHAPES[k]) for k, v in content.items() if k in _SHAPES})


_SHAPES: Mapping[str, type] = {
    "sources": list,
    "severityRules": list,
    "playbooks": list,
    "customPlaybooks": list,
    "humanApprovalRules": list,
    "customSeverityOverrides": list,
    "routing": list,
    "testSuites": list,
    "exceptionTypes": dict,
    "tools": dict,
    "guardrails": dict,
    "notifications": dict,
}
_INNER: Mapping[str, type] = {
    "detectionRules": list,
    "steps": list,
    "cases": list,
    "match": dict,
    "params": dict,
    "endpoint": dict,
    "auth": dict,
    "expected": dict,
    "channels": dict,
    "allowLists": dict,
    "blockLists": dict,
    "exceptionTypes": list,
    "severities": list,
}

_OF_TEXT = frozenset({"exceptionTypes", "severities"})
_FLAT = frozenset({"params", "expected", "auth", "endpoint", "allowLists", "blockLists"})


def _pruned(value: Any, shape: type) -> Any:
    if not isinstance(value, shape):
        return shape()
    if isinstance(value, list):
        return [_entry(inner) if isinstance(inner, dict) else {} for inner in value]
    return {k: _entry(v) for k, v in value.items() if isinstance(v, dict)}


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    pruned: dict[str, Any] = {}
    for key, value in entry.items():
        shape = _INNER.get(key)
        if shape is None:
            pruned[key] = value
        elif key in _OF_TEXT:
            pruned[key] = [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
        elif isinstance(value, shape):
            pruned[key] = _entry(value) if key == "match" else value if key in _FLAT else _pruned(value, shape)
    return pruned
