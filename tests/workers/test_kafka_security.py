"""Kafka over TLS, with passwords and with certificates; whatever does not fit is told with the setting that fixes it."""

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from confluent_kafka import KafkaError
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from kafka_server import KafkaServer, SecureListeners, free_port
from structlog.testing import capture_logs
from system import System, started

from sentinai.bootstrap import built_runner, check_topics
from sentinai.errors import Rejected, Unavailable
from sentinai.messaging.reasons import Reasons
from sentinai.settings import Settings, load_settings
from sentinai.workers.catalog import STAGES

USER = "sentinai"
PASSWORD = "correct-horse"


class Secure(NamedTuple):
    """A broker that demands TLS, and what its clients need."""

    sasl_ssl: str
    ssl: str
    plain: str
    folder: Path

    def with_password(self, **other: Any) -> dict[str, Any]:
        return {
            "broker": "kafka",
            "kafka_bootstrap_servers": self.sasl_ssl,
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_username": USER,
            "kafka_sasl_password": PASSWORD,
            "kafka_ssl_ca_file": self.folder / "ca.pem",
        } | other

    def with_certificate(self, **other: Any) -> dict[str, Any]:
        return {
            "broker": "kafka",
            "kafka_bootstrap_servers": self.ssl,
            "kafka_security_protocol": "SSL",
            "kafka_ssl_ca_file": self.folder / "ca.pem",
            "kafka_ssl_certificate_file": self.folder / "client.pem",
            "kafka_ssl_key_file": self.folder / "client.key",
        } | other


@pytest.fixture(scope="module")
def secure(own_broker: Any) -> Iterator[Secure]:
    with tempfile.TemporaryDirectory(prefix="sentinai-kafka-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        authority, stranger = trustme.CA(), trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        stranger.cert_pem.write_to_path(folder / "strange-ca.pem")
        write(authority.issue_cert("127.0.0.1"), folder / "server")
        write(authority.issue_cert("worker.example"), folder / "client")
        write(stranger.issue_cert("worker.example"), folder / "strange-client")
        listeners = SecureListeners(free_port(), free_port(), folder, USER, PASSWORD)
        with own_broker(KafkaServer(folder / "kafka", secure=listeners)) as server:
            yield Secure(f"127.0.0.1:{listeners.sasl_ssl}", f"127.0.0.1:{listeners.ssl}", server.bootstrap, folder)


def write(certificate: trustme.LeafCert, to: Path) -> None:
    """Certificates as `.pem`, the key as `.key`, both in the one file that the broker reads as `.keystore`."""
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain_pem = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    to.with_suffix(".pem").write_bytes(chain_pem)
    to.with_suffix(".key").write_bytes(key_pem)
    to.with_suffix(".keystore").write_bytes(key_pem + chain_pem)


@asynccontextmanager
async def over(url: str, options: dict[str, Any]) -> AsyncIterator[System]:
    prefix = f"t{secrets.token_hex(4)}."
    async with started(url, kafka_prefix=prefix, kafka_partitions=2, chaining=False, **options) as system:
        yield system


@pytest.mark.parametrize("way", ["password", "certificate"])
async def test_exceptions_go_their_way_over_tls(
    secure: Secure, fresh_database: Any, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Only Kafka brings the events: the log is not looked at beside it."""
    monkeypatch.setattr("sentinai.messaging.kafka.LOOK_BACK_EVERY_S", 1e9)
    options = secure.with_password() if way == "password" else secure.with_certificate()
    async with fresh_database() as url, over(url, options) as system:
        ended = await system.settled({"id": "over-tls", "amount": 1, "code": "card_declined"})
        assert ended["status"] == "RESOLVED"
        await system.require_sound()


PASSWORD_WRONG = {"kafka_sasl_password": "wrong"}
NOT_FITTING = {
    "wrong password": ("with_password", PASSWORD_WRONG, "KAFKA_SASL_PASSWORD"),
    "unknown user": ("with_password", {"kafka_sasl_username": "nobody"}, "KAFKA_SASL_USERNAME"),
    "mechanism not offered": ("with_password", {"kafka_sasl_mechanism": "PLAIN"}, "KAFKA_SASL_MECHANISM"),
    "unknown authority": ("with_password", {"kafka_ssl_ca_file": "strange-ca.pem"}, "KAFKA_SSL_CA_FILE"),
    "no authority": ("with_password", {"kafka_ssl_ca_file": None}, "KAFKA_SSL_CA_FILE"),
    "authority unreadable": ("with_password", {"kafka_ssl_ca_file": "client.key"}, "KAFKA_SSL_CA_FILE"),
    "no certificate": (
        "with_certificate",
        {"kafka_ssl_certificate_file": None, "kafka_ssl_key_file": None},
        "KAFKA_SSL_CERTIFICATE_FILE",
    ),
    "untrusted certificate": (
        "with_certificate",
        {"kafka_ssl_certificate_file": "strange-client.pem", "kafka_ssl_key_file": "strange-client.key"},
        "KAFKA_SSL_CERTIFICATE_FILE",
    ),
    "another's key": ("with_certificate", {"kafka_ssl_key_file": "strange-client.key"}, "KAFKA_SSL_KEY_FILE"),
    "no TLS": ("with_password", {"kafka_security_protocol": "PLAINTEXT"}, "KAFKA_SECURITY_PROTOCOL"),
    "TLS not wanted": ("with_certificate", {"kafka_bootstrap_servers": "plain"}, "KAFKA_SECURITY_PROTOCOL"),
    "password not wanted": (
        "with_password",
        {"kafka_bootstrap_servers": "plain", "kafka_security_protocol": "SASL_PLAINTEXT"},
        "KAFKA_SECURITY_PROTOCOL",
    ),
    "nobody there": ("with_password", {"kafka_bootstrap_servers": "127.0.0.1:1"}, "KAFKA_BOOTSTRAP_SERVERS"),
    "no such host": ("with_password", {"kafka_bootstrap_servers": "nowhere.invalid:9092"}, "KAFKA_BOOTSTRAP_SERVERS"),
}
"""How Kafka is talked to, what of it is wrong, and the setting that has to be named."""


@pytest.mark.parametrize(("way", "wrong", "setting"), NOT_FITTING.values(), ids=NOT_FITTING)
async def test_what_does_not_fit_is_told_with_its_setting(
    secure: Secure, monkeypatch: pytest.MonkeyPatch, way: str, wrong: dict[str, Any], setting: str
) -> None:
    monkeypatch.setattr("sentinai.messaging.topics.TIMEOUT_S", 3.0)
    wrong = {
        name: secure.folder / value if name.endswith("_file") and value else value for name, value in wrong.items()
    }
    if wrong.get("kafka_bootstrap_servers") == "plain":
        wrong["kafka_bootstrap_servers"] = secure.plain
    settings = Settings(_env_file=None, **getattr(secure, way)(**wrong))
    with pytest.raises(Unavailable) as told:
        await check_topics(settings, create=True)
    print(told.value.message)
    assert f"SENTINAI_{setting}" in told.value.message
    assert PASSWORD not in told.value.message


def test_a_certificate_not_trusted_is_told_in_whichever_step_of_the_handshake_it_is_seen() -> None:
    reasons = Reasons()
    text = "error:0A000086:SSL routines::certificate verify failed (after 2ms in state SSL_HANDSHAKE)"
    reasons.heard(KafkaError(KafkaError._TRANSPORT, text))
    assert "SENTINAI_KAFKA_SSL_CA_FILE" in reasons.sentence(KafkaError(KafkaError._TIMED_OUT))


@pytest.mark.slow
async def test_work_goes_on_and_the_reason_is_told_when_a_password_is_changed(
    secure: Secure, fresh_database: Any
) -> None:
    async with fresh_database() as url, over(url, secure.with_password()) as system:
        settings = system.settings.model_copy(update=PASSWORD_WRONG)
        exception_id = await system.post({"id": "shut-out", "amount": 1, "code": "card_declined"})
        async with built_runner(settings, url, ["relay"]) as relay:
            with pytest.raises(
                Unavailable, match=r"SENTINAI_KAFKA_SASL_PASSWORD.*are in the log and will be sent again"
            ):
                await relay.round()
        with capture_logs() as lines:
            async with built_runner(settings, url, list(STAGES)) as shut_out:
                async with asyncio.timeout(60):
                    while (await system.get(f"/exceptions/{exception_id}"))["status"] != "RESOLVED":
                        shut_out.make_due()
                        await shut_out.round()
                        await asyncio.sleep(0.05)
        reasons = [line["reason"] for line in lines if line["event"] == "kafka_away"]
        assert any("SENTINAI_KAFKA_SASL_PASSWORD" in reason for reason in reasons)
        await system.settle()
        await system.require_sound()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "SENTINAI_KAFKA_SASL_USERNAME and SENTINAI_KAFKA_SASL_PASSWORD"),
        ({"KAFKA_SSL_CA_FILE": "/no/such/ca.pem"}, "SENTINAI_KAFKA_SSL_CA_FILE: is not a file that can be read"),
        (
            {"KAFKA_SSL_KEY_FILE": __file__},
            "SENTINAI_KAFKA_SSL_CERTIFICATE_FILE and SENTINAI_KAFKA_SSL_KEY_FILE go together",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_at_start(
    given: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"SENTINAI_{name}", value)
    with pytest.raises(Rejected, match=told):
        load_settings(Path("/no/such/.env"))
