"""Does a pack hold together? Schema, names, expressions and limits; everything is reported at once, with its place."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sentinai.errors import Problem, Rejected
from sentinai.packs.document import PackDocument, parse
from sentinai.packs.duration import parse_duration
from sentinai.packs.expressions import Scope
from sentinai.packs.merge import lineage_of
from sentinai.packs.playbook_checks import ACTIONS, UNCLASSIFIED, Known, playbook_findings
from sentinai.packs.pointer import pointer_part
from sentinai.packs.schema import Path, tool_problems, violations
from sentinai.packs.value_checks import Finding, condition, duration, json_schema, secrets, template, unique, url

ENDPOINT_TIMEOUT_MAX_S = 30.0
SEVERITIES = ("LOW", "MEDIUM", "HIGH", "CRITICAL")

_TEXT_LISTS = frozenset(
    {
        "exceptionTypes",
        "severities",
        "tools",
        "actions",
        "approvedTools",
        "tags",
        "policyTags",
        "sensitive",
        "overridable",
    }
)
_CREDENTIAL_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "cookie"})


def load(text: str | bytes) -> PackDocument:
    """Parse and check. Raises Rejected with all problems."""
    document = parse(text)
    problems = check(document)
    if problems:
        raise Rejected(f"The pack has {len(problems)} problem(s); see errors.", problems=problems)
    return document


def check(document: PackDocument) -> list[Problem]:
    """All problems, in the order of the document. What does not fit the schema is not looked at any closer."""
    unfit = violations(document.kind, document.content)
    broken = [v.path for v in unfit if v.broken]
    usable = _without(document.content, broken)
    findings = domain_findings if document.kind == "DomainPack" else policy_findings
    hidden = tuple("".join(map(pointer_part, path)) for path in broken)
    found = [f for f in findings(usable) if not any(f[0] == h or f[0].startswith(h + "/") for h in hidden)]
    reported = [*((v.pointer, v.detail) for v in unfit), *found, *secrets(document.content)]
    problems = [document.problem(pointer, detail) for pointer, detail in reported]
    return sorted(problems, key=lambda p: (p.line or 0, p.column or 0))


def _without(content: Mapping[str, Any], broken: Iterable[Path]) -> dict[str, Any]:
    """The content without the values that do not fit the schema; places in lists are kept."""
    usable: dict[str, Any] = copy.deepcopy(dict(content))
    for path in sorted(broken, key=len):
        holder: Any = usable
        for key in path[:-1]:
            holder = _inside(holder, key)
        last = path[-1]
        if isinstance(holder, dict):
            holder.pop(last, None)
        elif isinstance(holder, list) and isinstance(last, int):
            holder[last] = "" if path[-2] in _TEXT_LISTS else {}
    return usable


def _inside(holder: Any, key: str | int) -> Any:
    """None when something around the place is gone already."""
    if isinstance(holder, dict):
        return holder.get(key)
    return holder[key] if isinstance(holder, list) and isinstance(key, int) else None


def check_tool(name: str, definition: Mapping[str, Any]) -> list[Problem]:
    """The same for one tool registered by itself."""
    problems = tool_problems(definition)
    if problems:
        return problems
    found = [*_tool(name, definition, ""), *secrets(definition)]
    return [Problem(f"/definition{pointer}", detail) for pointer, detail in found]


def check_pair(domain: Mapping[str, Any], policy: Mapping[str, Any]) -> list[Problem]:
    """Does the policy fit the domain: its names exist there, and its guardrails only tighten? Both are checked."""
    return [Problem(pointer, detail) for pointer, detail in _pair_findings(domain, policy)]


def _pair_findings(domain: Mapping[str, Any], policy: Mapping[str, Any]) -> Iterator[Finding]:
    if domain["domainName"] != policy["domainName"]:
        yield "/domainName", f"is {policy['domainName']!r}, the domain pack's is {domain['domainName']!r}"
    known = Known(domain["exceptionTypes"], domain.get("tools", {}))
    for n, tool in enumerate(policy["approvedTools"]):
        if tool not in known.tools:
            yield f"/approvedTools/{n}", f"the domain pack has no tool {tool!r}"
    for key in ("customSeverityOverrides", "slaOverrides", "humanApprovalRules"):
        for n, entry in enumerate(policy.get(key, [])):
            if entry.get("exceptionType", UNCLASSIFIED) not in (*known.types, UNCLASSIFIED):
                yield f"/{key}/{n}/exceptionType", f"the domain pack has no type {entry['exceptionType']!r}"
    yield from playbook_findings(policy.get("customPlaybooks", []), "/customPlaybooks", known)
    yield from _lists(policy.get("customGuardrails", {}), "/customGuardrails", known.tools)
    yield from _loosened(domain.get("guardrails", {}), policy.get("customGuardrails", {}))
    channels = policy.get("notifications", {}).get("channels", {})
    for playbook in (*domain.get("playbooks", []), *policy.get("customPlaybooks", [])):
        for step in playbook["steps"]:
            channel = step.get("params", {}).get("channel", "")
            if step["action"] == "notify" and "${" not in str(channel) and channel not in channels:
                detail = f"playbook {playbook['name']!r} notifies channel {channel!r}, which is not here"
                yield "/notifications/channels", detail


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
    known = Known(pack.get("exceptionTypes", {}), pack.get("tools", {}))
    yield from unique(pack.get("sources", []), "name", "/sources")
    for n, source in enumerate(pack.get("sources", [])):
        yield from _source(source, f"/sources/{n}")
    for name, kind in known.types.items():
        yield from _type(name, kind, known.types)
    yield from unique(pack.get("severityRules", []), "id", "/severityRules")
    for n, rule in enumerate(pack.get("severityRules", [])):
        yield from condition(rule.get("condition"), Scope.DECISION, f"/severityRules/{n}/condition")
        yield from _severity(rule.get("severity"), f"/severityRules/{n}/severity")
    for name, tool in known.tools.items():
        yield from _tool(name, tool, f"/tools{pointer_part(name)}")
    yield from playbook_findings(pack.get("playbooks", []), "/playbooks", known)
    yield from _lists(pack.get("guardrails", {}), "/guardrails", known.tools)
    yield from _cases(pack, known.types)


def policy_findings(pack: Mapping[str, Any]) -> Iterator[Finding]:
    """Expressions and limits of a Tenant Policy Pack; `check_pair` looks at the names it takes from the domain."""
    for key in ("humanApprovalRules", "customSeverityOverrides", "routing"):
        for n, entry in enumerate(pack.get(key, [])):
            yield from condition(entry.get("when"), Scope.DECISION, f"/{key}/{n}/when")
    yield from unique(pack.get("humanApprovalRules", []), "id", "/humanApprovalRules")
    for n, rule in enumerate(pack.get("humanApprovalRules", [])):
        yield from duration(rule.get("expiresAfter"), f"/humanApprovalRules/{n}/expiresAfter")
    yield from unique(pack.get("slaOverrides", []), "exceptionType", "/slaOverrides")
    for n, sla in enumerate(pack.get("slaOverrides", [])):
        yield from _sla(sla, f"/slaOverrides/{n}")
    for name, channel in pack.get("notifications", {}).get("channels", {}).items():
        place = f"/notifications/channels{pointer_part(name)}"
        if channel.get("provider") == "webhook" and not channel.get("url"):
            yield place, "a webhook needs a url"
        yield from url(channel.get("url"), f"{place}/url")
    yield from playbook_findings(pack.get("customPlaybooks", []), "/customPlaybooks", None)


def _source(source: Mapping[str, Any], place: str) -> Iterator[Finding]:
    yield from condition(source.get("match"), Scope.SOURCE, f"{place}/match")
    if "items" in source:
        yield from template("${" + source["items"] + "}", Scope.SOURCE, f"{place}/items")
    for key in ("fields", "occurredAt", "dedupKey", "title"):
        yield from template(source.get(key), Scope.SOURCE, f"{place}/{key}")
    yield from duration(source.get("dedupWindow"), f"{place}/dedupWindow")


def _type(name: str, kind: Mapping[str, Any], types: Mapping[str, Any]) -> Iterator[Finding]:
    place, parent = f"/exceptionTypes{pointer_part(name)}", kind.get("parentType")
    if parent is not None and parent not in types:
        yield f"{place}/parentType", f"there is no type {parent!r}"
    elif parent is not None and name in lineage_of(parent, types):
        yield f"{place}/parentType", f"{name!r} is its own ancestor"
    if name == UNCLASSIFIED:
        yield place, f"{UNCLASSIFIED} is the platform's own word"
    rules = kind.get("detectionRules", [])
    yield from unique(rules, "id", f"{place}/detectionRules")
    for n, rule in enumerate(rules):
        yield from condition(rule.get("condition"), Scope.DECISION, f"{place}/detectionRules/{n}/condition")
    yield from template(kind.get("title"), Scope.DECISION, f"{place}/title")
    yield from _sla(kind.get("sla", {}), f"{place}/sla")


def _sla(sla: Mapping[str, Any], place: str) -> Iterator[Finding]:
    wrong = [*duration(sla.get("resolveWithin"), f"{place}/resolveWithin")]
    wrong += duration(sla.get("warnBefore"), f"{place}/warnBefore")
    yield from wrong
    within, before = sla.get("resolveWithin"), sla.get("warnBefore")
    if not wrong and within and before and parse_duration(before) >= parse_duration(within):
        yield f"{place}/warnBefore", "has to be shorter than resolveWithin"


def _severity(severity: Any, place: str) -> Iterator[Finding]:
    if isinstance(severity, str) and "${" not in severity and severity not in SEVERITIES:
        yield place, f"{severity!r} is not one of {', '.join(SEVERITIES)}"
    yield from template(severity, Scope.DECISION, place)


def _tool(name: str, tool: Mapping[str, Any], place: str) -> Iterator[Finding]:
    for key in ("inputSchema", "outputSchema"):
        if key in tool:
            yield from json_schema(tool[key], f"{place}/{key}")
    if tool.get("provider") in ("http", "webhook") and "endpoint" not in tool:
        yield place, f"tool {name!r} is reached by {tool['provider']} and needs an endpoint"
    if tool.get("provider") == "http" and "outputSchema" not in tool:
        yield place, f"tool {name!r} needs an outputSchema: nothing else says what its answer may be"
    auth = tool.get("auth", {})
    if auth.get("type", "none") != "none" and "secret" not in auth:
        yield f"{place}/auth", "this kind of auth needs a secret's name"
    yield from duration(tool.get("retry", {}).get("firstDelay"), f"{place}/retry/firstDelay")
    yield from _endpoint(tool.get("endpoint", {}), f"{place}/endpoint")


def _endpoint(endpoint: Mapping[str, Any], place: str) -> Iterator[Finding]:
    yield from url(endpoint.get("url"), f"{place}/url")
    for key in ("url", "headers", "body"):
        yield from template(endpoint.get(key), Scope.TOOL, f"{place}/{key}")
    yield from duration(endpoint.get("timeout"), f"{place}/timeout", ENDPOINT_TIMEOUT_MAX_S)
    for header in endpoint.get("headers", {}):
        if header.lower() in _CREDENTIAL_HEADERS:
            yield f"{place}/headers{pointer_part(header)}", "carries a credential: use `auth` and a secret's name"


def _lists(guardrails: Mapping[str, Any], place: str, tools: Mapping[str, Any]) -> Iterator[Finding]:
    for which in ("allowLists", "blockLists"):
        lists = guardrails.get(which, {})
        for kind, names in (("tools", tools), ("actions", ACTIONS)):
            for n, name in enumerate(lists.get(kind, [])):
                if name not in names:
                    yield f"{place}/{which}/{kind}/{n}", f"there is no {kind[:-1]} {name!r}"


def _cases(pack: Mapping[str, Any], types: Mapping[str, Any]) -> Iterator[Finding]:
    playbooks = {p.get("name") for p in pack.get("playbooks", [])}
    yield from unique(pack.get("testSuites", []), "name", "/testSuites")
    for s, suite in enumerate(pack.get("testSuites", [])):
        yield from unique(suite.get("cases", []), "name", f"/testSuites/{s}/cases")
        for n, case in enumerate(suite.get("cases", [])):
            expected, place = case.get("expected", {}), f"/testSuites/{s}/cases/{n}/expected"
            wanted = expected.get("exceptionType", UNCLASSIFIED)
            if wanted not in types and wanted != UNCLASSIFIED:
                yield f"{place}/exceptionType", f"there is no type {wanted!r}"
            if "playbook" in expected and expected["playbook"] not in playbooks:
                yield f"{place}/playbook", f"there is no playbook {expected['playbook']!r}"
