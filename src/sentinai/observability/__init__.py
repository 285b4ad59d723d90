"""Observability: structured logs and the typed list of metrics."""
