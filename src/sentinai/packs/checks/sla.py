"""Is a deadline in order?"""

from collections.abc import Iterable, Iterator

from sentinai.packs.checks.finding import Finding, unique
from sentinai.packs.checks.value import duration
from sentinai.packs.duration import parse_duration
from sentinai.packs.model.sla import SlaDeclaration, SlaOverride
from sentinai.packs.places import Placed


def sla_findings(sla: SlaDeclaration | SlaOverride | None, place: str) -> Iterator[Finding]:
    if sla is None:
        return
    wrong = [*duration(sla.resolve_within, f"{place}/resolveWithin"), *duration(sla.warn_before, f"{place}/warnBefore")]
    yield from wrong
    if not wrong and sla.warn_before and parse_duration(sla.warn_before) >= parse_duration(sla.resolve_within):
        yield Finding(f"{place}/warnBefore", "has to be shorter than resolveWithin")


def override_findings(overrides: Iterable[Placed[SlaOverride]]) -> Iterator[Finding]:
    given = list(overrides)
    yield from unique(given, "exceptionType", lambda override: override.exception_type)
    for place, override in given:
        yield from sla_findings(override, place)
