"""Are Kafka's topics there, and are they safe to rely on?"""

from collections.abc import Mapping
from typing import NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from sentinai.errors import Unavailable
from sentinai.events.catalog import TOPICS
from sentinai.messaging.broker import KafkaOptions
from sentinai.messaging.relay import MESSAGE_BYTES_MAX

TIMEOUT_S = 10.0


class TopicPlan(NamedTuple):
    """How topics are made; those that exist are only looked at."""

    partitions: int
    replication: int
    retention_hours: int
    min_insync_replicas: int


def ensure_topics(options: KafkaOptions, plan: TopicPlan, *, create: bool = True) -> list[str]:
    """Make what is missing; says in sentences what is not as planned. Raises Unavailable when Kafka does not answer."""
    admin = AdminClient({**options.connection, "log_level": 2})
    try:
        there = admin.list_topics(timeout=TIMEOUT_S).topics
        wanted = [options.prefix + topic for topic in TOPICS]
        missing = [_topic(name, plan) for name in wanted if name not in there]
        if missing and not create:
            return [
                f"{missing[0].topic} and {len(missing) - 1} other topics are not there: `sentinai migrate` makes them"
            ]
        for made in (admin.create_topics(missing) if missing else {}).values():
            made.result(TIMEOUT_S)
        present = [name for name in wanted if name in there]
        partitions = {name: len(there[name].partitions) for name in present}
        return [
            finding for name in present for finding in _findings(name, partitions[name], _config(admin, name), plan)
        ]
    except KafkaException as error:
        servers = options.connection.get("bootstrap.servers")
        raise Unavailable(
            f"Kafka at {servers} does not answer: {error}. Is it running, and is the address right?"
        ) from error


def _topic(name: str, plan: TopicPlan) -> NewTopic:
    config = {
        "retention.ms": str(plan.retention_hours * 3_600_000),
        "min.insync.replicas": str(plan.min_insync_replicas),
        "max.message.bytes": str(MESSAGE_BYTES_MAX),
    }
    return NewTopic(name, plan.partitions, plan.replication, config=config)


def _config(admin: AdminClient, name: str) -> Mapping[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, name)
    found = admin.describe_configs([resource])[resource].result(TIMEOUT_S)
    return {key: entry.value for key, entry in found.items()}


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
