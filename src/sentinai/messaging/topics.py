"""Are Kafka's topics there, and are they safe to rely on?"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicMetadata,
)

from sentinai.errors import Unavailable
from sentinai.events.catalog import TOPICS
from sentinai.messaging.broker import KafkaOptions
from sentinai.messaging.reasons import Reasons
from sentinai.messaging.relay import MESSAGE_BYTES_MAX

TIMEOUT_S = 10.0
LOOK_S = 0.5
"""Between looks at whether we were refused: then there is nothing to wait for."""


class TopicPlan(NamedTuple):
    """How topics are made; those that exist are only looked at."""

    partitions: int
    replication: int
    retention_hours: int
    min_insync_replicas: int


def ensure_topics(options: KafkaOptions, plan: TopicPlan, *, create: bool = True) -> list[str]:
    """Make what is missing; says in sentences what is not as planned. Raises Unavailable when Kafka does not answer."""
    reasons = Reasons()
    try:
        client: dict[str, Any] = {**options.connection, "log_level": 2, "error_cb": reasons.heard}
        admin = AdminClient(client)
        try:
            there = _topics(admin, reasons)
            return _ensure(admin, there, [options.prefix + topic for topic in TOPICS], plan, create)
        finally:
            admin.poll(0)  # brings the reasons
    except KafkaException as error:
        servers = options.connection.get("bootstrap.servers")
        raise Unavailable(f"Kafka at {servers} is out of reach: {reasons.sentence(error)}") from error


def _topics(admin: AdminClient, reasons: Reasons) -> Mapping[str, TopicMetadata]:
    ends = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return admin.list_topics(timeout=LOOK_S).topics
        except KafkaException:
            admin.poll(0)
            if reasons.refused() or time.monotonic() > ends:
                raise


def _ensure(
    admin: AdminClient, there: Mapping[str, TopicMetadata], wanted: Sequence[str], plan: TopicPlan, create: bool
) -> list[str]:
    missing = [_topic(name, plan) for name in wanted if name not in there]
    if missing and not create:
        return [f"{len(missing)} topics, {missing[0].topic} among them, are not there: `sentinai migrate` makes them"]
    for made in (admin.create_topics(missing) if missing else {}).values():
        _require_made(made)
    present = [name for name in wanted if name in there]
    configs = _configs(admin, present)
    return [f for name in present for f in _findings(name, len(there[name].partitions), configs[name], plan)]


def delete_topics(options: KafkaOptions) -> None:
    """All of ours, with what they hold: a broker is lent to a benchmark, not given."""
    admin = AdminClient({**options.connection, "log_level": 2})
    for gone in admin.delete_topics([options.prefix + topic for topic in TOPICS]).values():
        gone.result(TIMEOUT_S)


def _require_made(made: "Future[None]") -> None:
    """Somebody else may have made it meanwhile."""
    try:
        made.result(TIMEOUT_S)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def _topic(name: str, plan: TopicPlan) -> NewTopic:
    config = {
        "retention.ms": str(plan.retention_hours * 3_600_000),
        "min.insync.replicas": str(plan.min_insync_replicas),
        "max.message.bytes": str(MESSAGE_BYTES_MAX),
    }
    return NewTopic(name, plan.partitions, plan.replication, config=config)


def _configs(admin: AdminClient, names: Sequence[str]) -> dict[str, Mapping[str, str]]:
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    answers = admin.describe_configs(resources) if resources else {}
    found = {resource.name: answer.result(TIMEOUT_S) for resource, answer in answers.items()}
    return {name: {key: entry.value for key, entry in config.items()} for name, config in found.items()}


def _findings(name: str, partitions: int, config: Mapping[str, str], plan: TopicPlan) -> list[str]:
    found = []
    if partitions < plan.partitions:
        found.append(f"{name} has {partitions} partitions, {plan.partitions} are wanted: add some, order is kept")
    if int(config["min.insync.replicas"]) < plan.min_insync_replicas:
        found.append(
            f"{name} has min.insync.replicas {config['min.insync.replicas']}: raise to {plan.min_insync_replicas}"
        )
    if 0 <= int(config["retention.ms"]) < plan.retention_hours * 3_600_000:
        found.append(f"{name} keeps messages for {config['retention.ms']} ms: raise to {plan.retention_hours} hours")
    if int(config["max.message.bytes"]) < MESSAGE_BYTES_MAX:
        found.append(f"{name} refuses messages over {config['max.message.bytes']} bytes: raise to {MESSAGE_BYTES_MAX}")
    return found
