"""May the chosen playbook run: by itself, after a person's yes, or not at all?"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sentinai.models.approval import OnExpiry
from sentinai.models.decision import Decision, Evidence, tried
from sentinai.models.exception_record import ExceptionState
from sentinai.packs.effective import ApprovalRule, EffectiveConfig, Playbook
from sentinai.packs.facts import DecisionFacts

APPROVED, NEEDS_APPROVAL, BLOCKED = "APPROVED", "NEEDS_APPROVAL", "BLOCKED"


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    state: ExceptionState
    config: EffectiveConfig | None
    playbook: Playbook | None
    """The best candidate, chosen by `playbooks.matching`."""
    matching: list[Evidence]
    """What was tried to find it."""
    disabled_tools: frozenset[str]
    now: datetime
    known: DecisionFacts | None = None
    """The exception's variables, if they were built for the matching already."""


class PolicyDecision(NamedTuple):
    decision: Decision
    outcome: str
    reasons: list[str]
    approvers: int
    """How many people have to say yes; the most that any rule wants."""
    expires_after_s: float | None
    """The shortest time that any rule gives."""
    on_expiry: OnExpiry
    """REJECT, if any rule with a time says so."""


def decide(facts: PolicyFacts) -> PolicyDecision:
    """Every rule is tried and is evidence; the strictest answer wins."""
    if facts.config is None:
        reason = "no active policy: activate a domain pack and a policy pack for this tenant"
        return _answer(facts, BLOCKED, [reason], [Evidence("active policy", "not_matched", reason)], [])
    evidence = [Evidence("active policy", "matched", facts.config.policy_version), *facts.matching]
    blocks = _blocks(facts, facts.config, evidence)
    if blocks:
        return _answer(facts, BLOCKED, blocks, evidence, [])
    reasons, rules = _approvals(facts, facts.config, evidence)
    return _answer(facts, NEEDS_APPROVAL if reasons else APPROVED, reasons, evidence, rules)


def _answer(
    facts: PolicyFacts, outcome: str, reasons: list[str], evidence: list[Evidence], rules: list[ApprovalRule]
) -> PolicyDecision:
    next_step = {APPROVED: "playbook", NEEDS_APPROVAL: "approval", BLOCKED: "escalation"}[outcome]
    decision = Decision("policy", outcome, facts.state.confidence, evidence, next_step)
    expiring = [rule for rule in rules if rule.expires_after_s]
    return PolicyDecision(
        decision,
        outcome,
        reasons,
        max((rule.approvers for rule in rules), default=1),
        min((rule.expires_after_s or 0.0 for rule in expiring), default=None),
        "REJECT" if any(rule.on_expiry == "REJECT" for rule in expiring) else "ESCALATE",
    )


def _blocks(facts: PolicyFacts, config: EffectiveConfig, evidence: list[Evidence]) -> list[str]:
    """The reasons why the playbook may not run at all."""
    if facts.playbook is None:
        return [f"no playbook for {facts.state.exception_type} of severity {facts.state.severity}"]
    guard, reasons = config.guardrails, []
    for step in facts.playbook.steps:
        action = step.action
        checks = [
            (f"action {action} not block-listed", action not in guard.blocked_actions),
            (f"action {action} allow-listed", guard.allowed_actions is None or action in guard.allowed_actions),
        ]
        if action == "call_tool":
            tool = step.literal_params["tool"]
            checks += [
                (f"tool {tool} not block-listed", tool not in guard.blocked_tools),
                (f"tool {tool} allow-listed", guard.allowed_tools is None or tool in guard.allowed_tools),
                (f"tool {tool} approved", tool in config.approved_tools),
                (f"tool {tool} enabled", f"{config.domain}.{tool}" not in facts.disabled_tools),
            ]
        for rule, holds in checks:
            evidence.append(tried(rule, holds, None))
            if not holds:
                reasons.append(f"step {step.name}: {rule} does not hold")
    return reasons


def _approvals(
    facts: PolicyFacts, config: EffectiveConfig, evidence: list[Evidence]
) -> tuple[list[str], list[ApprovalRule]]:
    """The reasons why a person has to say yes, and the approval rules among them."""
    state, guard = facts.state, config.guardrails
    checks = [
        ("CRITICAL without autoActionOnCritical", state.severity == "CRITICAL" and not config.auto_action_on_critical),
        (f"severity gate {state.severity}", state.severity in guard.gated_severities),
        (
            f"confidence {state.confidence:.2f} below threshold {guard.human_approval_threshold:.2f}",
            state.confidence < guard.human_approval_threshold,
        ),
    ]
    evidence += [tried(rule, holds, None) for rule, holds in checks]
    reasons = [rule for rule, holds in checks if holds]
    rules = []
    known = facts.known or DecisionFacts(state, config, facts.now)
    for rule in config.approval_rules:
        matched, problem = _applies(rule, state, config, known)
        evidence.append(tried(f"approval rule {rule.id}", matched, problem))
        if (matched or problem) and rule.require_approval:
            reasons.append(f"approval rule {rule.id}" + (f" could not be evaluated: {problem}" if problem else ""))
            rules.append(rule)
    return reasons, rules


def _applies(
    rule: ApprovalRule, state: ExceptionState, config: EffectiveConfig, known: DecisionFacts
) -> tuple[bool, str | None]:
    """A rule that cannot be evaluated counts as one that asks for approval: when unsure, ask."""
    if rule.severity is not None and rule.severity != state.severity:
        return False, None
    if rule.exception_type is not None and rule.exception_type not in config.type_of(state.exception_type).lineage:
        return False, None
    if rule.when is None:
        return True, None
    verdict = rule.when.test(known.activation)
    return verdict.matched, verdict.reason
