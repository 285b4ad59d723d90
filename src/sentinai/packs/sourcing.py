"""Which active configuration and which of its sources takes a raw payload?"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sentinai.models.decision import Evidence, tried
from sentinai.models.json import Json
from sentinai.packs.effective import EffectiveConfig, Source
from sentinai.packs.expressions import Activation, Scope, activation


class Report(NamedTuple):
    """What a source system reported, before any pack has looked at it."""

    tenant_id: str
    source_system: str
    domain: str | None
    payload: Json
    occurred_at: datetime | None
    received_at: datetime


class Sourcing(NamedTuple):
    """The first active configuration that takes the report; `source` is None when only the named domain is known."""

    config: EffectiveConfig | None
    source: Source | None
    facts: Activation | None
    """What the source's expressions see of the whole report."""
    evidence: list[Evidence]


def choose_source(configs: Sequence[EffectiveConfig], report: Report) -> Sourcing:
    """First match wins, over the configurations in the order they were activated and each one's sources in order."""
    evidence: list[Evidence] = []
    candidates = [c for c in configs if report.domain is None or c.domain == report.domain]
    for config in candidates:
        facts = source_activation(config, report, report.payload)
        for source in config.sources:
            verdict = source.match.test(facts)
            evidence.append(tried(f"source {config.domain}/{source.name}", verdict.matched, verdict.reason))
            if verdict.matched:
                return Sourcing(config, source, facts, evidence)
    named = candidates[0] if report.domain is not None and candidates else None
    return Sourcing(named, None, None, evidence)


def source_activation(config: EffectiveConfig, report: Report, item: Json) -> Activation:
    """The variables a source's expressions see; `item` is the payload itself unless the source splits deliveries."""
    values: Mapping[str, Json] = {
        "tenantId": report.tenant_id,
        "domain": config.domain,
        "sourceSystem": report.source_system,
        "rawPayload": report.payload,
        "item": item,
        "occurredAt": report.occurred_at or report.received_at,
        "receivedAt": report.received_at,
        "now": report.received_at,
        "lookups": config.lookups,
    }
    return activation(Scope.SOURCE, values)
