"""What is measured? The typed list of metrics; names carry their unit, labels never a tenant."""

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SHORT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CALL_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30)

EVENTS_APPENDED = Counter("sentinai_events_appended_total", "Events appended to the log by this process.")
EVENTS_HANDLED = Counter("sentinai_events_handled_total", "Events handled, chained ones included.", ["consumer"])
EVENTS_PARKED = Counter(
    "sentinai_events_parked_total",
    "Events parked, by state: due for another attempt, behind another one, or dead.",
    ["consumer", "state"],
)
BATCH_SECONDS = Histogram(
    "sentinai_batch_seconds", "Seconds a worker spends on one batch before its commit.", ["consumer"], buckets=_SHORT_S
)
CONSUMER_LAG = Gauge(
    "sentinai_consumer_lag_events",
    "Events a consumer has yet to take, at the last look; up to 1,000 per topic and partition.",
    ["consumer"],
)
LOG_HELD_BACK_SECONDS = Gauge(
    "sentinai_log_held_back_seconds", "Seconds the oldest writing transaction has kept newer events from all consumers."
)
LOG_HELD_BACK_SECONDS.set(float("nan"))  # not looked at is not the same as 0
BROKER_UP = Gauge("sentinai_broker_ready", "1 while Kafka answers this process; not a number where Kafka is not used.")
BROKER_UP.set(float("nan"))
REPORTS_SHED = Counter(
    "sentinai_reports_shed_total",
    "Reports refused early: with 503 because too many waited already, with 429 because their tenant sent too many.",
)
INGEST_GROUP_SIZE = Histogram(
    "sentinai_ingest_group_size", "Reports that shared one commit.", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
)
TOOL_CALLS = Counter(
    "sentinai_tool_calls_total",
    "Attempts to call a tool, by outcome: answered, refused, unavailable, busy, circuit_open, ours.",
    ["outcome"],
)
TOOL_SECONDS = Histogram("sentinai_tool_seconds", "Seconds one attempt to call a tool took.", buckets=_CALL_S)
HTTP_REQUESTS = Counter("sentinai_http_requests_total", "HTTP answers given.", ["method", "status"])
HTTP_SECONDS = Histogram(
    "sentinai_http_seconds", "Seconds from a request to the start of its answer.", ["method"], buckets=_SHORT_S
)
WORKER_READY = Gauge("sentinai_worker_ready", "1 while this process reaches its database.")

LABELS = frozenset({"consumer", "state", "outcome", "method", "status"})
"""All labels there are: each with few values, none with a tenant, a user or an id."""


def render() -> bytes:
    """All metrics of this process in the Prometheus text format."""
    return generate_latest()
