"""Is every stage wired: what it consumes exists, nobody else consumes it, and its worker can be told from the others?"""

from collections import Counter

from sentinai.cli.ports import SAMPLE_TOOLS_PORT
from sentinai.events.catalog import BY_NAME as EVENTS
from sentinai.orchestrator.stages.catalog import CATALOG as PIPELINE
from sentinai.workers.catalog import CATALOG, OWN_LOOPS


def test_a_type_of_event_has_one_consumer() -> None:
    consumers = Counter(name for stage in PIPELINE for name in stage.consumes)
    assert [name for name, count in consumers.items() if count > 1] == [], "take it from the stage that has it already"


def test_a_stage_consumes_events_that_exist() -> None:
    assert [(stage.name, name) for stage in PIPELINE for name in stage.consumes if name not in EVENTS] == []
    assert [stage.name for stage in PIPELINE if not stage.consumes] == [], "a stage without events is never asked"


def test_names_and_ports_of_workers_are_their_own() -> None:
    names, ports = [entry.name for entry in CATALOG], [entry.health_port for entry in CATALOG]
    assert len(set(names)) == len(names)
    assert len({*ports, SAMPLE_TOOLS_PORT}) == len(ports) + 1
    assert OWN_LOOPS.keys() <= {stage.name for stage in PIPELINE}, "a loop of its own is found by the stage's name"
