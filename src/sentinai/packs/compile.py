"""How do a Domain Pack and a Tenant Policy Pack become one compiled configuration?"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Literal

from sentinai.models.exception_record import UNCLASSIFIED
from sentinai.models.json import Json
from sentinai.packs.content import Content
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
from sentinai.packs.lineage import lineage_of
from sentinai.packs.model.approval_rule import ON_EXPIRY, ApprovalRuleDeclaration
from sentinai.packs.model.domain_pack import DomainPack
from sentinai.packs.model.exception_type import ExceptionTypeDeclaration
from sentinai.packs.model.guardrails import APPROVAL_THRESHOLD, GuardrailsDeclaration, TenantGuardrails
from sentinai.packs.model.playbook import PlaybookDeclaration, StepDeclaration
from sentinai.packs.model.policy_pack import TenantPolicyPack
from sentinai.packs.model.severity import SeverityRuleDeclaration
from sentinai.packs.model.sla import SlaDeclaration, SlaOverride
from sentinai.packs.model.source import SourceDeclaration
from sentinai.packs.model.tool import EndpointDeclaration, ToolDeclaration
from sentinai.packs.reading import read


def compile_pair(domain: Content, policy: Content) -> EffectiveConfig:
    """Compile a checked pair of packs; the same pair always gives the same hash.

    Raises Rejected for an expression that does not compile: packs are checked before they get here.
    """
    pack, own = read(DomainPack, domain), read(TenantPolicyPack, policy)
    overrides = {override.exception_type: override for override in own.sla_overrides}
    types = {name: _type(name, pack.exception_types, overrides) for name in pack.exception_types}
    return EffectiveConfig(
        hash=hashlib.sha256(f"{content_hash(domain)}:{content_hash(policy)}".encode()).hexdigest(),
        tenant_id=own.tenant_id,
        domain=pack.domain_name,
        domain_version=pack.version,
        policy_version=own.version,
        lookups=pack.lookups,
        sources=tuple(map(_source, pack.sources)),
        types=types,
        types_by_depth=tuple(sorted(types.values(), key=lambda kind: -kind.depth)),
        unclassified=_type(UNCLASSIFIED, {UNCLASSIFIED: ExceptionTypeDeclaration()}, overrides),
        severity_overrides=tuple(
            SeverityOverride(one.exception_type, one.severity, _condition(one.when))
            for one in own.custom_severity_overrides
        ),
        severity_rules=tuple(map(_severity_rule, pack.severity_rules)),
        ranking_sees_type=_ranking_sees_type(pack, own),
        tools={name: _tool(name, tool, domain["tools"][name]) for name, tool in pack.tools.items()},
        approved_tools=frozenset(own.approved_tools),
        playbooks=_playbooks(pack.playbooks, own.custom_playbooks),
        guardrails=_guardrails(pack.guardrails, own.custom_guardrails),
        approval_rules=tuple(_approval_rule(n, rule) for n, rule in enumerate(own.human_approval_rules, 1)),
        auto_action_on_critical=own.auto_action_on_critical,
        routing=tuple(Route(Condition.compile(one.when, Scope.DECISION), one.queue) for one in own.routing),
        channels={
            name: Channel(name, one.provider, one.url, one.secret) for name, one in own.notifications.channels.items()
        },
        policy_tags=own.policy_tags,
        retention_days=own.retention_policies.data_ttl,
    )


def compile_tool(name: str, definition: Content) -> Tool:
    """A tool that was registered by itself."""
    return _tool(name, read(ToolDeclaration, definition), definition)


def _tool(name: str, tool: ToolDeclaration, definition: Content) -> Tool:
    auth = tool.auth
    return Tool(
        name=name,
        description=tool.description,
        provider=tool.provider,
        idempotent=tool.idempotent,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        endpoint=_endpoint(tool.endpoint) if tool.endpoint is not None else None,
        auth=Auth(auth.type, auth.header, auth.secret, auth.username),
        retry=Retry(tool.attempts_max, parse_duration(tool.retry.first_delay)),
        definition=definition,
    )


def _endpoint(endpoint: EndpointDeclaration) -> Endpoint:
    return Endpoint(
        endpoint.method,
        Template.compile(endpoint.url, Scope.TOOL),
        {name: Template.compile(value, Scope.TOOL) for name, value in endpoint.headers.items()},
        _template(endpoint.body, Scope.TOOL),
        parse_duration(endpoint.timeout),
    )


def _source(source: SourceDeclaration) -> Source:
    return Source(
        name=source.name,
        match=Condition.compile(source.match, Scope.SOURCE),
        items=_template(source.items_template, Scope.SOURCE),
        fields={name: Template.compile(value, Scope.SOURCE) for name, value in source.fields.items()},
        occurred_at=_template(source.occurred_at, Scope.SOURCE),
        dedup_key=_template(source.dedup_key, Scope.SOURCE),
        dedup_window_s=_seconds(source.dedup_window),
        title=_template(source.title, Scope.SOURCE),
        sensitive=tuple(map(sensitive_path, source.sensitive)),
    )


def sensitive_path(path: str) -> tuple[str, ...]:
    """`item.card.number` or `rawPayload.card.number` → `("card", "number")`."""
    first, *rest = path.split(".")
    return tuple(rest) if first in ("item", "rawPayload") else (first, *rest)


def _type(
    name: str, declared: Mapping[str, ExceptionTypeDeclaration], overrides: Mapping[str, SlaOverride]
) -> ExceptionType:
    own, lineage = declared[name], lineage_of(name, declared)
    ancestors = [declared[ancestor] for ancestor in lineage]
    retriage = next((a.retriage_on_recurrence for a in ancestors if a.retriage_on_recurrence is not None), False)
    return ExceptionType(
        name=name,
        description=own.description,
        parent=own.parent_type,
        depth=len(lineage) - 1,
        tags=own.tags,
        detection_rules=tuple(
            DetectionRule(rule.id, Condition.compile(rule.condition, Scope.DECISION), rule.confidence)
            for rule in own.detection_rules
        ),
        severity=next((a.severity for a in ancestors if a.severity is not None), None),
        retriage_on_recurrence=retriage,
        title=_template(next((a.title for a in ancestors if a.title is not None), None), Scope.DECISION),
        sla=_sla(lineage, declared, overrides),
        lineage=lineage,
    )


def _sla(
    lineage: tuple[str, ...], declared: Mapping[str, ExceptionTypeDeclaration], overrides: Mapping[str, SlaOverride]
) -> Sla | None:
    """The nearest one counts; a tenant's override keeps the warning of the deadline it replaces."""
    for n, name in enumerate(lineage):
        own = next((sla for ancestor in lineage[n:] if (sla := declared[ancestor].sla) is not None), None)
        if name in overrides:
            override = overrides[name]
            return _deadline(override, override.warn_before or (own.warn_before if own else None))
        if declared[name].sla is not None and own is not None:
            return _deadline(own, own.warn_before)
    return None


def _deadline(sla: SlaDeclaration | SlaOverride, warn_before: str | None) -> Sla:
    """A warning that would come before the report itself (the tenant's deadline is that short) is left out."""
    within, warn = parse_duration(sla.resolve_within), _seconds(warn_before)
    return Sla(within, warn if warn is not None and warn < within else None)


_FOUND = re.compile(r"\b(?:exceptionType|confidence|tags|severity)\b")


def _ranking_sees_type(pack: DomainPack, own: TenantPolicyPack) -> bool:
    """By the words of the expressions; a word inside of a text counts too, which costs a little time and changes nothing."""
    texts: list[Json] = [one.when for one in own.custom_severity_overrides]
    texts += [kind.title for kind in pack.exception_types.values()]
    texts += [text for rule in pack.severity_rules for text in (rule.condition, rule.severity)]
    return any(_FOUND.search(str(text)) for text in texts if text is not None)


def _severity_rule(rule: SeverityRuleDeclaration) -> SeverityRule:
    return SeverityRule(
        rule.id,
        Condition.compile(rule.condition, Scope.DECISION),
        Template.compile(rule.severity, Scope.DECISION),
        rule.priority_score,
    )


def _playbooks(domain: Iterable[PlaybookDeclaration], tenant: Iterable[PlaybookDeclaration]) -> tuple[Playbook, ...]:
    compiled = [_playbook(p, "tenant") for p in tenant] + [_playbook(p, "domain") for p in domain]
    return tuple(sorted(compiled, key=lambda p: (-p.priority, p.owner == "domain", -p.match.specificity, -p.version)))


def _playbook(playbook: PlaybookDeclaration, owner: Literal["domain", "tenant"]) -> Playbook:
    match = playbook.match
    return Playbook(
        name=playbook.name,
        version=playbook.version,
        description=playbook.description,
        match=PlaybookMatch(match.exception_types, match.severities, _condition(match.when)),
        priority=playbook.priority,
        steps=tuple(map(_step, playbook.steps)),
        owner=owner,
    )


def _step(step: StepDeclaration) -> Step:
    return Step(
        name=step.name,
        action=step.action,
        when=Condition.compile(step.when, Scope.PLAYBOOK) if step.when else None,
        params=Template.compile(step.params, Scope.PLAYBOOK),
        mode=step.mode,
        on_failure=step.on_failure,
        literal_params=step.params,
    )


def _guardrails(domain: GuardrailsDeclaration, tenant: TenantGuardrails) -> Guardrails:
    """The tenant's own words replace the domain's; `check_pair` has seen to it that they only tighten."""
    gates = domain.severity_gates | tenant.severity_gates
    return Guardrails(
        allowed_tools=_allowed(domain.allow_lists.tools, tenant.allow_lists.tools),
        allowed_actions=_allowed(domain.allow_lists.actions, tenant.allow_lists.actions),
        blocked_tools=frozenset(domain.block_lists.tools + tenant.block_lists.tools),
        blocked_actions=frozenset(domain.block_lists.actions + tenant.block_lists.actions),
        human_approval_threshold=_nearest(
            tenant.human_approval_threshold, domain.human_approval_threshold, APPROVAL_THRESHOLD
        ),
        gated_severities=frozenset(severity for severity, gate in gates.items() if gate.require_approval),
    )


def _allowed(domain: tuple[str, ...] | None, tenant: tuple[str, ...] | None) -> frozenset[str] | None:
    listed = tenant if tenant is not None else domain
    return frozenset(listed) if listed is not None else None


def _nearest(*thresholds: float | None) -> float:
    return next(one for one in thresholds if one is not None)


def _approval_rule(number: int, rule: ApprovalRuleDeclaration) -> ApprovalRule:
    return ApprovalRule(
        id=rule.id or f"#{number}",
        severity=rule.severity,
        exception_type=rule.exception_type,
        when=_condition(rule.when),
        require_approval=rule.require_approval,
        approvers=rule.approvers,
        expires_after_s=_seconds(rule.expires_after),
        on_expiry=rule.on_expiry or ON_EXPIRY,
    )


def _condition(text: str | None) -> Condition | None:
    return Condition.compile(text, Scope.DECISION) if text is not None else None


def _template(value: Json, scope: Scope) -> Template | None:
    return Template.compile(value, scope) if value is not None else None


def _seconds(text: str | None) -> float | None:
    return parse_duration(text) if text is not None else None
