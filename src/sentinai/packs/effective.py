"""What does a tenant's merged and compiled configuration of one domain look like?

`EffectiveConfig` is immutable and identified by `hash`; every event names the configuration it was decided under.
Expressions are compiled (`Condition`, `Template`); durations are seconds; severities are words of `SEVERITIES`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sentinai.models.json import Json
from sentinai.packs.expressions import Condition, Template

Severity = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]
OnFailure = Literal["ESCALATE", "CONTINUE"]

SEVERITIES: tuple[Severity, ...] = ("LOW", "MEDIUM", "HIGH", "CRITICAL")


@dataclass(frozen=True, slots=True)
class Source:
    """How a raw payload of one source becomes an exception; templates see `item` and the intake variables."""

    name: str
    match: Condition
    items: Template | None
    fields: Mapping[str, Template]
    occurred_at: Template | None
    dedup_key: Template | None
    dedup_window_s: float | None
    title: Template | None
    sensitive: tuple[tuple[str, ...], ...]
    """Paths below `item` (or `rawPayload`) whose values are masked before storage; `*` is every list element."""


@dataclass(frozen=True, slots=True)
class DetectionRule:
    id: str
    condition: Condition
    confidence: float


@dataclass(frozen=True, slots=True)
class Sla:
    resolve_within_s: float
    warn_before_s: float | None


@dataclass(frozen=True, slots=True)
class ExceptionType:
    name: str
    description: str
    parent: str | None
    depth: int
    """0 for a root; detection tries the deepest types first."""
    tags: tuple[str, ...]
    detection_rules: tuple[DetectionRule, ...]
    severity: Severity | None
    """Own or inherited from the nearest ancestor that has one; None when none has."""
    retriage_on_recurrence: bool
    title: Template | None
    sla: Sla | None
    """Own, inherited, or the tenant's override."""
    lineage: tuple[str, ...]
    """The type itself, then its ancestors up to the root."""


@dataclass(frozen=True, slots=True)
class SeverityRule:
    id: str
    condition: Condition
    severity: Template
    """Renders to one of SEVERITIES; anything else makes the rule not match."""
    priority_score: int | None


@dataclass(frozen=True, slots=True)
class SeverityOverride:
    """A tenant's severity for a type and its descendants."""

    exception_type: str
    severity: Severity
    when: Condition | None


@dataclass(frozen=True, slots=True)
class Endpoint:
    method: str
    url: Template
    headers: Mapping[str, Template]
    body: Template | None
    """None: the tool input itself is the JSON body (for methods that carry one)."""
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Auth:
    type: Literal["none", "apiKey", "bearer", "basic"]
    header: str | None
    secret: str | None
    """Reference to a secret by name, never a value."""
    username: str | None


@dataclass(frozen=True, slots=True)
class Retry:
    max_attempts: int
    first_delay_s: float


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str
    provider: str
    """A name in the catalog of providers."""
    idempotent: bool
    input_schema: Mapping[str, Json]
    output_schema: Mapping[str, Json] | None
    endpoint: Endpoint | None
    auth: Auth
    retry: Retry
    definition: Mapping[str, Json]
    """The declaration as written in the pack (what `GET /tools` shows)."""


@dataclass(frozen=True, slots=True)
class PlaybookMatch:
    exception_types: tuple[str, ...]
    """Matches these types and their descendants; empty matches every type."""
    severities: tuple[Severity, ...]
    when: Condition | None

    @property
    def specificity(self) -> int:
        """How narrowly the match speaks: one point for each criterion it names."""
        return bool(self.exception_types) + bool(self.severities) + (self.when is not None)


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    action: str
    when: Condition | None
    params: Template
    """Renders to a mapping; what each action expects of it is said by the action."""
    mode: Literal["auto", "human"]
    on_failure: OnFailure
    literal_params: Mapping[str, Json]
    """The params as written, for checks that need no evaluation (for example the tool's name)."""


@dataclass(frozen=True, slots=True)
class Playbook:
    name: str
    version: int
    description: str
    match: PlaybookMatch
    priority: int
    steps: tuple[Step, ...]
    owner: Literal["tenant", "domain"]


@dataclass(frozen=True, slots=True)
class Guardrails:
    """Merged limits. A list that is None restricts nothing beyond `approved_tools`; an empty one allows nothing."""

    allowed_tools: frozenset[str] | None
    allowed_actions: frozenset[str] | None
    blocked_tools: frozenset[str]
    blocked_actions: frozenset[str]
    human_approval_threshold: float
    """Below this triage confidence a person decides; 0 never asks."""
    gated_severities: frozenset[str]
    """Severities whose gate requires approval."""


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """All given criteria must hold; one without criteria holds always."""

    id: str
    severity: Severity | None
    exception_type: str | None
    when: Condition | None
    require_approval: bool
    approvers: int
    expires_after_s: float | None
    on_expiry: Literal["ESCALATE", "REJECT"]


@dataclass(frozen=True, slots=True)
class Route:
    when: Condition
    queue: str


@dataclass(frozen=True, slots=True)
class Channel:
    """Where a `notify` goes: a `webhook` posts JSON to `url`, a `log` writes a structured log line."""

    name: str
    provider: Literal["webhook", "log"]
    url: str | None
    secret: str | None


@dataclass(frozen=True, slots=True)
class EffectiveConfig:
    """A Domain Pack and a Tenant Policy Pack, merged and compiled once."""

    hash: str
    """SHA-256 (hex) over both packs' content hashes."""
    tenant_id: str
    domain: str
    domain_version: str
    policy_version: str
    lookups: Mapping[str, Json]
    sources: tuple[Source, ...]
    types: Mapping[str, ExceptionType]
    types_by_depth: tuple[ExceptionType, ...]
    """Deepest first, then in the order of the pack."""
    unclassified: ExceptionType
    """What nobody could classify: a type of its own, so that a tenant's rules and overrides may name it like any other."""
    severity_overrides: tuple[SeverityOverride, ...]
    severity_rules: tuple[SeverityRule, ...]
    ranking_sees_type: bool
    """Whether a severity rule, an override or a title reads what detection found: type, confidence, tags or severity."""
    tools: Mapping[str, Tool]
    approved_tools: frozenset[str]
    playbooks: tuple[Playbook, ...]
    """Best candidate first: priority, then tenant before domain, then specificity, then newest version."""
    guardrails: Guardrails
    approval_rules: tuple[ApprovalRule, ...]
    auto_action_on_critical: bool
    routing: tuple[Route, ...]
    channels: Mapping[str, Channel]
    policy_tags: tuple[str, ...] = ()
    retention_days: int | None = None

    def type_of(self, name: str | None) -> ExceptionType:
        """The type of that name; `unclassified` where the configuration has none."""
        return self.types.get(name or "", self.unclassified)


@dataclass(frozen=True, slots=True)
class TenantConfiguration:
    """What is active for a tenant now, in the order in which it was activated."""

    tenant_id: str
    version: int
    suspended: bool
    active: tuple[EffectiveConfig, ...]
    disabled_tools: frozenset[str]

    def of_domain(self, domain: str | None) -> EffectiveConfig | None:
        return next((c for c in self.active if c.domain == domain), None)
