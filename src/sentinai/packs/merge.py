"""How do a Domain Pack and a Tenant Policy Pack become one compiled configuration?"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from sentinai.models.exception_record import UNCLASSIFIED
from sentinai.packs.content_hash import content_hash
from sentinai.packs.duration import parse_duration
from sentinai.packs.effective import (
    ApprovalRule,
    Auth,
    Channel,
    DetectionRule,
    EffectiveConfig,
    Endpoint,
    ExceptionType,
    Guardrails,
    Playbook,
    PlaybookMatch,
    Retry,
    Route,
    SeverityOverride,
    SeverityRule,
    Sla,
    Source,
    Step,
    Tool,
)
from sentinai.packs.expressions import Condition, Scope, Template

Content = Mapping[str, Any]

DETECTION_CONFIDENCE = 1.0
"""Of a detection rule that does not say one."""
TOOL_TIMEOUT_S = 10.0
IDEMPOTENT_ATTEMPTS = 3
FIRST_DELAY_S = 1.0


def merge(domain: Content, policy: Content) -> EffectiveConfig:
    """Compile a checked pair of pack contents; the same pair always gives the same hash.

    Raises Rejected for an expression that does not compile: packs are checked before they get here.
    """
    types = _types(domain, policy)
    tools = {name: compile_tool(name, tool) for name, tool in domain.get("tools", {}).items()}
    return EffectiveConfig(
        hash=hashlib.sha256(f"{content_hash(domain)}:{content_hash(policy)}".encode()).hexdigest(),
        tenant_id=policy["tenantId"],
        domain=domain["domainName"],
        domain_version=domain["version"],
        policy_version=policy["version"],
        lookups=domain.get("lookups", {}),
        sources=tuple(_source(source) for source in domain.get("sources", [])),
        types=types,
        types_by_depth=tuple(sorted(types.values(), key=lambda kind: -kind.depth)),
        unclassified=_type(UNCLASSIFIED, {UNCLASSIFIED: {}}, _sla_overrides(policy)),
        severity_overrides=tuple(
            SeverityOverride(o["exceptionType"], o["severity"], _condition(o.get("when")))
            for o in policy.get("customSeverityOverrides", [])
        ),
        severity_rules=tuple(_severity_rule(rule) for rule in domain.get("severityRules", [])),
        tools=tools,
        approved_tools=frozenset(policy.get("approvedTools", [])),
        playbooks=_playbooks(domain.get("playbooks", []), policy.get("customPlaybooks", [])),
        guardrails=_guardrails(domain.get("guardrails", {}), policy.get("customGuardrails", {})),
        approval_rules=tuple(_approval_rule(n, r) for n, r in enumerate(policy.get("humanApprovalRules", []), 1)),
        auto_action_on_critical=policy.get("autoActionOnCritical", False),
        routing=tuple(
            Route(Condition.compile(r["when"], Scope.DECISION), r["queue"]) for r in policy.get("routing", [])
        ),
        channels={
            name: Channel(name, c["provider"], c.get("url"), c.get("secret"))
            for name, c in policy.get("notifications", {}).get("channels", {}).items()
        },
        policy_tags=tuple(policy.get("policyTags", [])),
        retention_days=policy.get("retentionPolicies", {}).get("dataTTL"),
    )


def compile_tool(name: str, tool: Content) -> Tool:
    """A tool as declared in a pack, or registered by itself."""
    auth, retry = tool.get("auth", {"type": "none"}), tool.get("retry", {})
    idempotent = tool.get("idempotent", False)
    return Tool(
        name=name,
        description=tool.get("description", ""),
        provider=tool["provider"],
        idempotent=idempotent,
        input_schema=tool["inputSchema"],
        output_schema=tool.get("outputSchema"),
        endpoint=_endpoint(tool["endpoint"]) if "endpoint" in tool else None,
        auth=Auth(auth["type"], auth.get("header"), auth.get("secret"), auth.get("username")),
        retry=Retry(
            retry.get("maxAttempts", IDEMPOTENT_ATTEMPTS if idempotent else 1),
            parse_duration(retry["firstDelay"]) if "firstDelay" in retry else FIRST_DELAY_S,
        ),
        definition=tool,
    )


def _endpoint(endpoint: Content) -> Endpoint:
    headers = {name: Template.compile(value, Scope.TOOL) for name, value in endpoint.get("headers", {}).items()}
    return Endpoint(
        endpoint.get("method", "POST"),
        Template.compile(endpoint["url"], Scope.TOOL),
        headers,
        _template(endpoint.get("body"), Scope.TOOL),
        parse_duration(endpoint["timeout"]) if "timeout" in endpoint else TOOL_TIMEOUT_S,
    )


def _source(source: Content) -> Source:
    return Source(
        name=source["name"],
        match=Condition.compile(source["match"], Scope.SOURCE),
        items=Template.compile("${" + source["items"] + "}", Scope.SOURCE) if "items" in source else None,
        fields={name: Template.compile(value, Scope.SOURCE) for name, value in source.get("fields", {}).items()},
        occurred_at=_template(source.get("occurredAt"), Scope.SOURCE),
        dedup_key=_template(source.get("dedupKey"), Scope.SOURCE),
        dedup_window_s=parse_duration(source["dedupWindow"]) if "dedupWindow" in source else None,
        title=_template(source.get("title"), Scope.SOURCE),
        sensitive=tuple(sensitive_path(path) for path in source.get("sensitive", [])),
    )


def sensitive_path(path: str) -> tuple[str, ...]:
    """`item.card.number` or `rawPayload.card.number` → `("card", "number")`."""
    first, *rest = path.split(".")
    return tuple(rest) if first in ("item", "rawPayload") else (first, *rest)


def _types(domain: Content, policy: Content) -> dict[str, ExceptionType]:
    declared: Content = domain["exceptionTypes"]
    return {name: _type(name, declared, _sla_overrides(policy)) for name in declared}


def _sla_overrides(policy: Content) -> dict[str, Content]:
    return {o["exceptionType"]: o for o in policy.get("slaOverrides", [])}


def _type(name: str, declared: Content, overrides: Content) -> ExceptionType:
    own, lineage = declared[name], lineage_of(name, declared)

    def inherited(key: str) -> Any:
        return next((declared[ancestor][key] for ancestor in lineage if key in declared[ancestor]), None)

    return ExceptionType(
        name=name,
        description=own.get("description", ""),
        parent=own.get("parentType"),
        depth=len(lineage) - 1,
        tags=tuple(own.get("tags", [])),
        detection_rules=tuple(
            DetectionRule(
                rule["id"],
                Condition.compile(rule["condition"], Scope.DECISION),
                rule.get("confidence", DETECTION_CONFIDENCE),
            )
            for rule in own.get("detectionRules", [])
        ),
        severity=inherited("severity"),
        retriage_on_recurrence=bool(inherited("retriageOnRecurrence")),
        title=_template(inherited("title"), Scope.DECISION),
        sla=_sla(_declared_sla(lineage, declared, overrides)),
        lineage=tuple(lineage),
    )


def lineage_of(name: str, declared: Content) -> list[str]:
    """The type and its ancestors up to the root; a cycle or an unknown parent ends it (the checks report those)."""
    lineage: dict[str, None] = {}
    current: str | None = name
    while current is not None and current in declared and current not in lineage:
        lineage[current] = None
        current = declared[current].get("parentType")
    return list(lineage)


def _declared_sla(lineage: list[str], declared: Content, overrides: Content) -> Content | None:
    """The nearest one counts; a tenant's override replaces what it says of the deadline the type has in the domain."""
    for n, name in enumerate(lineage):
        if name in overrides:
            base: Content = next((declared[a]["sla"] for a in lineage[n:] if "sla" in declared[a]), {})
            return {**base, **overrides[name]}
        if "sla" in declared[name]:
            sla: Content = declared[name]["sla"]
            return sla
    return None


def _sla(sla: Content | None) -> Sla | None:
    """A warning that would come before the report itself (the tenant's deadline is that short) is left out."""
    if sla is None:
        return None
    within, before = parse_duration(sla["resolveWithin"]), sla.get("warnBefore")
    warn = parse_duration(before) if before is not None else None
    return Sla(within, warn if warn is not None and warn < within else None)


def _severity_rule(rule: Content) -> SeverityRule:
    return SeverityRule(
        rule["id"],
        Condition.compile(rule["condition"], Scope.DECISION),
        Template.compile(rule["severity"], Scope.DECISION),
        rule.get("priorityScore"),
    )


def _playbooks(domain: Iterable[Content], tenant: Iterable[Content]) -> tuple[Playbook, ...]:
    compiled = [_playbook(p, "tenant") for p in tenant] + [_playbook(p, "domain") for p in domain]
    return tuple(sorted(compiled, key=lambda p: (-p.priority, p.owner == "domain", -p.match.specificity, -p.version)))


def _playbook(playbook: Content, owner: Any) -> Playbook:
    match = playbook.get("match", {})
    return Playbook(
        name=playbook["name"],
        version=playbook.get("version", 1),
        description=playbook.get("description", ""),
        match=PlaybookMatch(
            tuple(match.get("exceptionTypes", [])), tuple(match.get("severities", [])), _condition(match.get("when"))
        ),
        priority=playbook.get("priority", 0),
        steps=tuple(_step(step) for step in playbook["steps"]),
        owner=owner,
    )


def _step(step: Content) -> Step:
    params = step.get("params", {})
    when = step.get("when")
    return Step(
        name=step["name"],
        action=step["action"],
        when=Condition.compile(when, Scope.PLAYBOOK) if when else None,
        params=Template.compile(params, Scope.PLAYBOOK),
        mode=step.get("mode", "auto"),
        on_failure=step.get("onFailure", "ESCALATE"),
        literal_params=params,
    )


def _guardrails(domain: Content, tenant: Content) -> Guardrails:
    """The tenant's own words replace the domain's; `check_pair` has seen to it that they only tighten."""
    merged = {**domain, **tenant}
    allowed = {**domain.get("allowLists", {}), **tenant.get("allowLists", {})}
    gates = {**domain.get("severityGates", {}), **tenant.get("severityGates", {})}

    def blocked(kind: str) -> frozenset[str]:
        return frozenset(domain.get("blockLists", {}).get(kind, []) + tenant.get("blockLists", {}).get(kind, []))

    return Guardrails(
        allowed_tools=frozenset(allowed["tools"]) if "tools" in allowed else None,
        allowed_actions=frozenset(allowed["actions"]) if "actions" in allowed else None,
        blocked_tools=blocked("tools"),
        blocked_actions=blocked("actions"),
        human_approval_threshold=merged.get("humanApprovalThreshold", 0.0),
        gated_severities=frozenset(s for s, gate in gates.items() if gate.get("requireApproval")),
    )


def _approval_rule(number: int, rule: Content) -> ApprovalRule:
    return ApprovalRule(
        id=rule.get("id", f"#{number}"),
        severity=rule.get("severity"),
        exception_type=rule.get("exceptionType"),
        when=_condition(rule.get("when")),
        require_approval=rule.get("requireApproval", True),
        approvers=rule.get("approvers", 1),
        expires_after_s=parse_duration(rule["expiresAfter"]) if "expiresAfter" in rule else None,
        on_expiry=rule.get("onExpiry", "ESCALATE"),
    )


def _condition(text: str | None) -> Condition | None:
    return Condition.compile(text, Scope.DECISION) if text is not None else None


def _template(value: Any, scope: Scope) -> Template | None:
    return Template.compile(value, scope) if value is not None else None
