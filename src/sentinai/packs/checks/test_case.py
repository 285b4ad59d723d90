"""Do a pack's own tests expect something that there is?"""

from collections.abc import Iterable, Iterator

from sentinai.packs.checks.exception_type import unknown_type
from sentinai.packs.checks.finding import Finding, unique
from sentinai.packs.checks.known import KnownNames
from sentinai.packs.model.test_case import Case, Suite
from sentinai.packs.places import Placed, Places
from sentinai.packs.pointer import pointer_part

ACTS = ("approve", "reject", "complete", "skip")


def case_findings(suites: Iterable[Placed[Suite]], known: KnownNames, places: Places) -> Iterator[Finding]:
    given = list(suites)
    yield from unique(given, "name", lambda suite: suite.name)
    for place, suite in given:
        cases = list(places.of(suite.cases, f"{place}/cases"))
        yield from unique(cases, "name", lambda case: case.name)
        for at, case in cases:
            wanted = case.expected
            yield from unknown_type(wanted.exception_type, f"{at}/expected/exceptionType", known.types)
            if wanted.playbook is not None and known.playbooks is not None and wanted.playbook not in known.playbooks:
                yield Finding(f"{at}/expected/playbook", f"there is no playbook {wanted.playbook!r}")
            yield from _answers(case, at, known)
            for n, act in enumerate(case.people or ()):
                said = [name for name in ACTS if getattr(act, name) is not None]
                if len(said) != 1:
                    yield Finding(f"{at}/people/{n}", f"say one of {', '.join(ACTS)}, not {len(said)} of them")


def _answers(case: Case, at: str, known: KnownNames) -> Iterator[Finding]:
    for tool in case.answers or {}:
        if known.tools is not None and tool not in known.tools:
            yield Finding(f"{at}/answers{pointer_part(tool)}", f"there is no tool {tool!r}")
