"""What is measured? The typed list of metrics; names carry their unit, labels never a tenant."""

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST

EVENTS_APPENDED = Counter("sentinai_events_appended_total", "Events appended to the log by this process.")
EVENTS_HANDLED = Counter("sentinai_events_handled_total", "Events handled, chained ones included.", ["consumer"])
EVENTS_PARKED = Counter("sentinai_events_parked_total", "Events parked or dead-lettered.", ["consumer", "state"])
BATCH_SECONDS = Histogram(
    "sentinai_batch_seconds", "Seconds a worker spends on one batch before its commit.", ["consumer"]
)
INGEST_GROUP_SIZE = Histogram(
    "sentinai_ingest_group_size", "Reports that shared one commit.", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
)
TOOL_CALLS = Counter("sentinai_tool_calls_total", "Attempts to call a tool, by how they ended.", ["outcome"])
TOOL_SECONDS = Histogram("sentinai_tool_seconds", "Seconds one attempt to call a tool took.")
HTTP_REQUESTS = Counter("sentinai_http_requests_total", "HTTP answers given.", ["method", "status"])
WORKER_READY = Gauge("sentinai_worker_ready", "1 while this process reaches its database.")


def render() -> bytes:
    """All metrics of this process in the Prometheus text format."""
    return generate_latest()
