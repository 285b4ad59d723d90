"""Who consumes what? The map of the pipeline, as its stages say it; a consumer is a worker's name.

Each type of event has one consumer inside; integrators read the topics, not this map.
"""

from sentinai.events.catalog import BY_NAME
from sentinai.orchestrator.stages.catalog import CATALOG

CONSUMES: dict[str, tuple[str, ...]] = {stage.name: stage.consumes for stage in CATALOG}

CONSUMER_OF: dict[str, str] = {name: consumer for consumer, names in CONSUMES.items() for name in names}


def topics_of(consumer: str) -> tuple[str, ...]:
    """The topics a consumer has cursors on."""
    return tuple(dict.fromkeys(BY_NAME[name].topic for name in CONSUMES[consumer]))
