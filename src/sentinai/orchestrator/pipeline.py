"""Who consumes what? The map of the pipeline; a consumer is a worker's name.

Each type of event has one consumer inside; integrators read the topics, not this map.
"""

from sentinai.events.catalog import BY_NAME

CONSUMES: dict[str, tuple[str, ...]] = {
    "intake": ("ExceptionIngested",),
    "triage": ("ExceptionNormalized", "ExceptionRecurred"),
    "policy": ("TriageCompleted", "PlaybookRecalculationRequested", "ExceptionReopened"),
    "playbook": (
        "PlaybookMatched",
        "ApprovalGranted",
        "ApprovalRejected",
        "ApprovalExpired",
        "PlaybookStepCompletionRequested",
        "PlaybookStepSkipRequested",
        "ToolExecutionCompleted",
        "ToolExecutionFailed",
        "SLAExpired",
    ),
    "tool": ("ToolExecutionRequested",),
    "feedback": ("ExceptionResolved", "ExceptionEscalated"),
}

CONSUMER_OF: dict[str, str] = {name: consumer for consumer, names in CONSUMES.items() for name in names}


def topics_of(consumer: str) -> tuple[str, ...]:
    """The topics a consumer has cursors on."""
    return tuple(dict.fromkeys(BY_NAME[name].topic for name in CONSUMES[consumer]))
