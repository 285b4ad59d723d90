"""What can an operator set, and what does each setting mean?

Environment variables `SENTINAI_<NAME>`, or the same lines in an `.env` file, which the environment overrides. An empty
value means the default. Nothing below the bootstrap imports this module: concrete values are handed down.
"""

import os
import re
from collections import ChainMap
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from dotenv import dotenv_values
from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from sentinai.errors import Problem, Rejected

PREFIX = "SENTINAI_"
ENV_FILE = Path(".env")
FREE_PREFIXES = ("SENTINAI_SECRET_", "SENTINAI_TEST_")
"""Secrets are referred to by name from packs; test variables belong to the test suite."""

_MIB = 1024 * 1024


class Settings(BaseSettings):
    """All settings of one installation, checked once at the start."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    database_url: str = Field(
        "",
        repr=False,
        validation_alias=AliasChoices("SENTINAI_DATABASE_URL", "DATABASE_URL"),
        description="PostgreSQL 15 or newer, as postgresql://user:password@host:port/name; the plain name DATABASE_URL "
        "is understood too. Empty: an embedded server under the data folder.",
    )
    data_dir: Path = Field(
        Path(".data"), description="Folder of the embedded database and of files written at run time."
    )
    broker: Literal["postgres", "kafka"] = Field(
        "postgres",
        validation_alias=AliasChoices("SENTINAI_BROKER", "BROKER"),
        description="What carries events between workers: postgres, the database itself; or kafka, for many machines.",
    )
    kafka_bootstrap_servers: str = Field(
        "",
        validation_alias=AliasChoices("SENTINAI_KAFKA_BOOTSTRAP_SERVERS", "KAFKA_BOOTSTRAP_SERVERS"),
        description="Addresses of Kafka brokers, host:port separated by commas.",
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How Kafka is talked to."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="With SASL_*: how the user is authenticated."
    )
    kafka_sasl_username: str = Field("", description="With SASL_*: the user.")
    kafka_sasl_password: str = Field("", repr=False, description="With SASL_*: the user's password.")
    kafka_ssl_ca_file: Path | None = Field(
        None, description="With *SSL: certificates to trust (PEM); the system's when empty."
    )
    kafka_ssl_certificate_file: Path | None = Field(None, description="With *SSL: our certificate (PEM), if asked for.")
    kafka_ssl_key_file: Path | None = Field(None, description="With *SSL: the key of our certificate (PEM).")
    kafka_prefix: str = Field(
        "sentinai.", pattern=r"^[a-zA-Z0-9._-]{0,100}$", description="Of the names of topics and consumer groups."
    )
    kafka_partitions: int = Field(
        8,
        ge=1,
        le=32,
        description="Partitions of a topic that we make: as many processes share a consumer's work. Fewer "
        "are faster; more can be added at any time.",
    )
    kafka_replication: int = Field(1, ge=1, le=9, description="Copies of each partition that we make; 3 in production.")
    kafka_min_insync_replicas: int = Field(
        1, ge=1, le=9, description="Copies that have to take a message before it counts; 2 in production."
    )
    kafka_retention_hours: int = Field(
        168, ge=1, description="How long Kafka keeps messages; the log keeps them anyway."
    )
    api_host: str = Field("127.0.0.1", description="Address the API listens on; 0.0.0.0 opens it to the network.")
    api_port: int = Field(8000, ge=1, le=65535, description="TCP port of the API.")
    body_bytes_max: int = Field(
        _MIB, ge=1024, description="Largest request body, and largest report of a batch, in bytes."
    )
    batch_bytes_max: int = Field(16 * _MIB, ge=1024, description="Largest body of POST /exceptions/batch, in bytes.")
    payload_depth_max: int = Field(64, ge=1, le=512, description="Deepest nesting of a payload that is accepted.")
    ingest_group_max: int = Field(
        500, ge=1, le=10_000, description="Most requests whose exceptions share one commit; each still waits for it."
    )
    ingest_waiting_max: int = Field(
        10_000,
        ge=1,
        description="Most reports that may wait for their commit; more are refused with 503 at once. One "
        "tenant's may be half of them.",
    )
    ingest_bytes_max: int = Field(
        64 * _MIB,
        ge=2048,
        description="Most bytes of reports that one API process holds until they are stored; more are refused with 503 at "
        "once. One tenant's may be half of them. At least twice BATCH_BYTES_MAX.",
    )
    tenant_reports_per_s: float = Field(
        0.0,
        ge=0,
        description="Reports a second, on average, that a tenant may send to one API process; more are "
        "refused with 429. 0: as many as there is room for.",
    )
    worker_processes: int = Field(1, ge=1, le=64, description="Processes that `sentinai up` runs its workers in.")
    worker_batch_max: int = Field(1000, ge=1, le=5_000, description="Most events a worker handles in one transaction.")
    chaining: bool = Field(
        True,
        description="Whether a process may handle an event it has just decided in the same transaction: the same "
        "results with fewer commits.",
    )
    worker_health_host: str = Field("127.0.0.1", description="Address the workers' health and metrics listen on.")
    worker_health_base_port: int = Field(
        9000, ge=1, le=65_000, description="Worker number n (intake is 1) answers health checks on this port + n."
    )
    shutdown_grace_s: float = Field(
        20.0,
        gt=0,
        le=600,
        description="Seconds that requests, batches and tool calls in hand may take to finish at a stop.",
    )
    tool_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Hosts on private networks that tools may call, separated by commas: localhost, 127.0.0.1:9009, "
        "10.1.0.0/16, *.internal. Public addresses need no entry.",
    )
    secrets_dir: Path | None = Field(
        None,
        description="Folder with one file per secret, named <TENANT>__<NAME>, for those not given as "
        "SENTINAI_SECRET_<TENANT>__<NAME>.",
    )
    signing_key: str = Field(
        "",
        repr=False,
        pattern=r"^(.{32,})?$",
        description="Signs what retention removed; at least 32 random characters. With the embedded database one is made.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least serious lines to log.")
    log_format: Literal["console", "json"] = Field("console", description="console for people, json for machines.")

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, url: str) -> str:
        plain = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url)
        if plain and not plain.startswith("postgresql://"):
            raise ValueError("has to start with postgresql://")
        return plain

    @model_validator(mode="after")
    def _has_its_broker(self) -> "Settings":
        if self.broker == "kafka" and not self.kafka_bootstrap_servers:
            raise ValueError("SENTINAI_BROKER=kafka needs SENTINAI_KAFKA_BOOTSTRAP_SERVERS, such as localhost:9092")
        return self

    @model_validator(mode="after")
    def _has_what_its_broker_asks_for(self) -> "Settings":
        protocol = self.kafka_security_protocol
        if protocol.startswith("SASL") and not (self.kafka_sasl_username and self.kafka_sasl_password):
            raise ValueError(f"{protocol} needs SENTINAI_KAFKA_SASL_USERNAME and SENTINAI_KAFKA_SASL_PASSWORD")
        if bool(self.kafka_ssl_certificate_file) != bool(self.kafka_ssl_key_file):
            raise ValueError("SENTINAI_KAFKA_SSL_CERTIFICATE_FILE and SENTINAI_KAFKA_SSL_KEY_FILE go together")
        return self

    @model_validator(mode="after")
    def _holds_a_batch(self) -> "Settings":
        if self.ingest_bytes_max < 2 * self.batch_bytes_max:
            raise ValueError(
                "SENTINAI_INGEST_BYTES_MAX has to be at least twice SENTINAI_BATCH_BYTES_MAX: a tenant may use half of it"
            )
        return self

    @field_validator("kafka_ssl_ca_file", "kafka_ssl_certificate_file", "kafka_ssl_key_file")
    @classmethod
    def _is_readable(cls, file: Path | None) -> Path | None:
        if file is not None and not os.access(file, os.R_OK):
            raise ValueError("is not a file that can be read here")
        return file

    @field_validator("broker", "log_level", "log_format", mode="before")
    @classmethod
    def _ignore_case(cls, word: object) -> object:
        return word.lower() if isinstance(word, str) else word

    @field_validator("tool_allowed_hosts", mode="before")
    @classmethod
    def _split(cls, hosts: object) -> object:
        return tuple(filter(None, (h.strip() for h in hosts.split(",")))) if isinstance(hosts, str) else hosts


def load_settings(env_file: Path = ENV_FILE) -> Settings:
    """Read and check the settings of this process.

    Raises Rejected that names every wrong and every unknown variable; values are not repeated, they may be secret.
    """
    problems = _unknown(environment(env_file))
    try:
        settings = Settings(_env_file=env_file)
    except ValidationError as error:
        problems += [_explain(e["loc"], e["msg"]) for e in error.errors(include_input=False, include_url=False)]
    if problems:
        raise Rejected("Wrong settings: " + " ".join(p.detail for p in problems), problems=problems)
    return settings


def environment(env_file: Path = ENV_FILE) -> Mapping[str, str]:
    """The variables of the `.env` file, overridden by those of the process: where secrets are looked up."""
    from_file = dotenv_values(env_file) if env_file.is_file() else {}
    given = {name: value for name, value in from_file.items() if value is not None}
    return ChainMap(os.environ, given)


def variable_of(field: str) -> str:
    """The environment variable that sets a field."""
    return PREFIX + field.upper()


def env_example() -> str:
    """The text of `.env.example`: every setting with its meaning and default."""
    lines = ["# Copy to .env and change what differs; an empty value means the default."]
    for name, field in Settings.model_fields.items():
        lines += ["", f"# {field.description}", f"# {variable_of(name)}={_shown(field.default)}"]
    lines += [
        "",
        "# A secret that packs of tenant ACME refer to by name; SHARED in place of the tenant lets all of them use it.",
    ]
    lines += ["# SENTINAI_SECRET_ACME__EXAMPLE="]
    return "\n".join(lines) + "\n"


def _unknown(variables: Mapping[str, str]) -> list[Problem]:
    known = [variable_of(name) for name in Settings.model_fields]
    given = {name.upper(): name for name in variables if name.upper().startswith(PREFIX)}
    strange = sorted(n for n in given if n not in known and not n.startswith(FREE_PREFIXES))
    return [Problem(f"/{given[name]}", _suggest(given[name], known)) for name in strange]


def _suggest(name: str, known: list[str]) -> str:
    bare = [k.removeprefix(PREFIX) for k in known]
    near = get_close_matches(name.upper().removeprefix(PREFIX), bare, n=1)
    hint = f"did you mean {PREFIX}{near[0]}?" if near else "see .env.example for all settings."
    return f"{name} is not a setting; {hint}"


def _explain(place: tuple[int | str, ...], message: str) -> Problem:
    first = str(place[0]) if place else ""
    name = variable_of(first) if first in Settings.model_fields else first
    reason = message.removeprefix("Value error, ").replace("Input should", "should", 1)
    return Problem(f"/{name}", f"{name}: {reason}.")


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default is None or default == () else str(default)


if __name__ == "__main__":
    print(env_example(), end="")
