"""Does every metric say what it counts, in which unit, and nothing about any tenant?"""

import re
import subprocess
import sys

import pytest
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from sentinai.observability import metrics

METRICS = {name: value for name, value in vars(metrics).items() if isinstance(value, Counter | Gauge | Histogram)}
UNITS = ("_total", "_seconds", "_events", "_size", "_ready")
ALL = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


def described(metric: Counter | Gauge | Histogram) -> tuple[str, str]:
    (family,) = metric.describe()
    return family.name + ("_total" if isinstance(metric, Counter) else ""), family.documentation


@ALL
def test_a_name_begins_with_ours_and_ends_with_its_unit(metric: Counter | Gauge | Histogram) -> None:
    name, _ = described(metric)
    assert re.fullmatch(r"sentinai_[a-z]+(_[a-z]+)*", name)
    assert name.endswith(UNITS)


@ALL
def test_the_help_is_a_sentence_and_names_seconds_where_they_are_meant(metric: Counter | Gauge | Histogram) -> None:
    name, text = described(metric)
    assert text.endswith(".")
    assert ("econds" in text) == name.endswith("_seconds")


@ALL
def test_labels_have_few_values_and_none_is_a_tenant(metric: Counter | Gauge | Histogram) -> None:
    assert set(metric._labelnames) <= metrics.LABELS
    assert not any("tenant" in label or label.endswith("_id") for label in metrics.LABELS)


def test_what_is_rendered_can_be_read_by_a_scraper() -> None:
    metrics.TOOL_CALLS.labels(outcome="answered").inc()
    families = {f.name: f for f in text_string_to_metric_families(metrics.render().decode())}
    assert {described(m)[0].removesuffix("_total") for m in METRICS.values()} <= set(families)
    assert {"outcome": "answered"} in [sample.labels for sample in families["sentinai_tool_calls"].samples]


def test_a_log_nobody_looked_at_is_not_called_free() -> None:
    code = "from sentinai.observability.metrics import render; print(render().decode())"
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "sentinai_log_held_back_seconds NaN" in fresh.stdout
