"""Which concrete things is this installation made of? The only place that builds them from settings."""

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

import uuid_utils
from asyncpg.pgproto.pgproto import UUID as PostgresUUID

from sentinai.errors import Rejected
from sentinai.infrastructure.database import API, INGEST, OWNER, WORKER, Database, Role
from sentinai.infrastructure.repositories.configurations import Configurations
from sentinai.infrastructure.repositories.events import EventStore, event_of
from sentinai.infrastructure.repositories.exceptions import ExceptionRepository
from sentinai.infrastructure.repositories.executions import ExecutionRepository
from sentinai.infrastructure.repositories.tools import ToolRepository
from sentinai.infrastructure.unit_of_work import UnitOfWork
from sentinai.messaging.broker import RELAY, Broker, KafkaOptions
from sentinai.messaging.parked import ParkedEvents
from sentinai.messaging.postgres import PostgresBroker
from sentinai.messaging.publisher import EventPublisherService
from sentinai.observability.logs import configure
from sentinai.orchestrator.pipeline import CONSUMES
from sentinai.security.addresses import AddressGuard
from sentinai.security.masking import redact_pii
from sentinai.security.secrets import SecretStore
from sentinai.services.admission import Admission
from sentinai.services.ingestion import IngestionService
from sentinai.services.rebase import require_own_cluster
from sentinai.services.recording import Commands
from sentinai.settings import Settings, environment
from sentinai.tools.invoke import Invoker
from sentinai.tools.outbound import outbound_client
from sentinai.tools.providers.catalog import CATALOG as PROVIDERS
from sentinai.workers.base import Platform
from sentinai.workers.catalog import BY_NAME
from sentinai.workers.executor import ToolExecutor
from sentinai.workers.runner import Runner

if TYPE_CHECKING:
    from fastapi import FastAPI


def now() -> datetime:
    return datetime.now(UTC)


def new_id() -> UUID:
    """UUIDv7: ordered by time, so that indexes grow at one end."""
    return PostgresUUID(uuid_utils.uuid7().bytes)


def tune_collector() -> None:
    """Our values hold no cycles; looking for them after every 700 new ones cost a fifth of a worker's time."""
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)


def configure_logging(settings: Settings) -> None:
    configure(settings.log_level, settings.log_format, redact_pii)


async def prepare_database(url: str, settings: Settings | None = None) -> list[str]:
    """Migrate, and give every consumer its cursors; with Kafka also the relay, and the topics.

    Says in sentences what about the topics is not as it should be.
    """
    from sentinai.infrastructure.migrate import build_index, migrate

    await migrate(url)
    async with opened(url, OWNER) as owner, owner.transaction() as tx:
        await PostgresBroker(event_of).register(tx, list(CONSUMES))
    if settings is None or kafka_options(settings) is None:
        return []
    from sentinai.messaging.relay import INDEX, prepare_relay

    await build_index(url, *INDEX)
    async with opened(url, OWNER) as owner, owner.transaction() as tx:
        await prepare_relay(tx)
    return await check_topics(settings, create=True)


async def check_topics(settings: Settings, *, create: bool) -> list[str]:
    """What is wrong with Kafka's topics, in sentences; nothing without Kafka. Raises Unavailable when it is away."""
    options = kafka_options(settings)
    if options is None:
        return []
    from sentinai.messaging.topics import TopicPlan, ensure_topics

    plan = TopicPlan(
        settings.kafka_partitions,
        settings.kafka_replication,
        settings.kafka_retention_hours,
        settings.kafka_min_insync_replicas,
    )
    return await asyncio.to_thread(ensure_topics, options, plan, create=create)


def kafka_options(settings: Settings) -> KafkaOptions | None:
    """How Kafka is reached; None when the database carries the events."""
    if settings.broker != "kafka":
        return None
    connection = {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "security.protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_security_protocol.startswith("SASL"):
        connection |= {
            "sasl.mechanism": settings.kafka_sasl_mechanism,
            "sasl.username": settings.kafka_sasl_username,
            "sasl.password": settings.kafka_sasl_password,
        }
    files = {
        "ssl.ca.location": settings.kafka_ssl_ca_file,
        "ssl.certificate.location": settings.kafka_ssl_certificate_file,
        "ssl.key.location": settings.kafka_ssl_key_file,
    }
    connection |= {name: str(path) for name, path in files.items() if path is not None}
    return KafkaOptions(connection, settings.kafka_prefix)


def build_commands(database: Database) -> Commands:
    """Commands over a database role; the API's is under row-level security."""
    store, exceptions = EventStore(copy=False), ExceptionRepository()
    return Commands(
        database=database,
        store=store,
        exceptions=exceptions,
        configurations=Configurations(),
        parked=ParkedEvents(),
        unit_of_work=_unit_of_work(store, exceptions),
        clock=now,
        new_id=new_id,
    )


def _unit_of_work(store: EventStore, exceptions: ExceptionRepository) -> UnitOfWork:
    return UnitOfWork(EventPublisherService(store).publish, exceptions)


def build_ingestion(settings: Settings, commands: Commands, ingest: Database) -> IngestionService:
    """Ingestion has a database role of its own that can only insert."""
    unit_of_work = _unit_of_work(EventStore(copy=True), commands.exceptions)
    admission = Admission(settings.ingest_waiting_max, settings.ingest_bytes_max, settings.tenant_reports_per_s)
    return IngestionService(commands, ingest, unit_of_work, settings.ingest_group_max, admission)


@asynccontextmanager
async def opened(url: str, role: Role) -> AsyncIterator[Database]:
    """A database of one role, closed at the end."""
    database = Database(url, role)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def build_app(settings: Settings, url: str) -> "FastAPI":
    """The HTTP application on this database. What it needs is imported here: a worker starts without it."""
    from sentinai.api.auth import Authenticator
    from sentinai.api.dependencies import ApiServices, BodyLimits
    from sentinai.api.main import create_app

    @asynccontextmanager
    async def lifespan(app: "FastAPI") -> AsyncIterator[None]:
        async with opened(url, API) as database, opened(url, INGEST) as ingest:
            await require_own_cluster(database)
            commands = build_commands(database)
            app.state.services = ApiServices(
                database=database,
                commands=commands,
                ingestion=build_ingestion(settings, commands, ingest),
                tools=ToolRepository(),
                authenticator=Authenticator(database),
                limits=BodyLimits(settings.body_bytes_max, settings.batch_bytes_max, settings.payload_depth_max),
            )
            yield

    return create_app(lifespan)


def build_platform(settings: Settings, database: Database, broker: Broker | None = None) -> Platform:
    """What the workers of a process share; the log itself carries events if no other broker is given."""
    store, exceptions = EventStore(copy=True), ExceptionRepository()
    return Platform(
        database=database,
        broker=broker or PostgresBroker(event_of),
        store=store,
        exceptions=exceptions,
        configurations=Configurations(),
        parked=ParkedEvents(),
        executions=ExecutionRepository(),
        tools=ToolRepository(),
        unit_of_work=_unit_of_work(store, exceptions),
        clock=now,
        new_id=new_id,
        batch_max=settings.worker_batch_max,
        chaining=settings.chaining,
        kafka=kafka_options(settings),
    )


@asynccontextmanager
async def _broker(settings: Settings, names: Sequence[str]) -> AsyncIterator[Broker]:
    """What carries events to these workers. The relay itself reads the log."""
    log = PostgresBroker(event_of)
    options = kafka_options(settings)
    if options is None or RELAY in names:
        yield log
        return
    from sentinai.messaging.kafka import Feed, KafkaBroker, connect

    feeds = [Feed(name, options.prefix, partial(connect, options=options)) for name in names if name in CONSUMES]
    broker = KafkaBroker(log, feeds)
    try:
        yield broker
    finally:
        broker.close()


async def _require_relay(database: Database) -> None:
    from sentinai.messaging.relay import is_prepared

    async with database.transaction() as tx:
        if not await is_prepared(tx):
            raise Rejected(
                "The database is not prepared for the relay: run `sentinai migrate` with SENTINAI_BROKER=kafka."
            )


@asynccontextmanager
async def built_runner(
    settings: Settings, url: str, names: Sequence[str], health_port: int | None = None
) -> AsyncIterator[Runner]:
    """A runner of these workers, with its tool executor if `tool` is among them."""
    async with opened(url, WORKER) as database, _broker(settings, names) as broker:
        await require_own_cluster(database)
        if RELAY in names:
            await _require_relay(database)
        platform = build_platform(settings, database, broker)
        workers = [BY_NAME[name].loop(platform) for name in names]
        if "tool" not in names:
            yield Runner(platform, workers, None, health_port)
            return
        async with outbound_client(AddressGuard(settings.tool_allowed_hosts)) as client:
            secrets = SecretStore(environment(), settings.secrets_dir)
            invoke = Invoker({entry.name: entry.build(client, secrets) for entry in PROVIDERS})
            yield Runner(platform, workers, ToolExecutor(platform, invoke), health_port, settings.shutdown_grace_s)
