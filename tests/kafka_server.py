"""A real Apache Kafka on this machine, for development and tests: fetched with Maven, run in KRaft mode.

`python tests/kafka_server.py` (`make kafka`) starts one that stays, or finds it running; `... stop` ends it.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

ROOT = Path(__file__).parent.parent
HOME = ROOT / ".cache" / "kafka"
POM = ROOT / ".ci" / "kafka" / "pom.xml"
PORT = 9092
READY_DEADLINE_S = 60.0
_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=CONTROLLER://127.0.0.1:{controller},PLAINTEXT://127.0.0.1:{port}{listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{advertised}{listeners}
controller.listener.names=CONTROLLER
log.dirs={folder}/log
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""
_SECURE_PROPERTIES = """listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.ssl.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.keystore
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
"""


class CannotRunKafka(Exception):
    """Says why, and what to install."""


class SecureListeners(NamedTuple):
    """Two more ways in: TLS with the password of one user (SCRAM), and TLS with a certificate of the client's own."""

    sasl_ssl: int
    ssl: int
    folder: Path
    """Holds `server.keystore`, the broker's key and certificates, and `ca.pem`, whom it trusts; both PEM."""
    user: str
    password: str

    @property
    def listeners(self) -> str:
        return f",SASL_SSL://127.0.0.1:{self.sasl_ssl},SSL://127.0.0.1:{self.ssl}"

    @property
    def properties(self) -> str:
        return _SECURE_PROPERTIES.format(folder=self.folder.absolute())

    @property
    def scram(self) -> str:
        """As the tool that formats the storage wants to be told of the user."""
        return f"SCRAM-SHA-512=[name={self.user},password={self.password}]"


class KafkaServer:
    """One broker over a folder; `kill` and `start` again keep what it stored."""

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        advertised: int | None = None,
        secure: SecureListeners | None = None,
    ) -> None:
        """Clients are told to use the `advertised` port, of a proxy before the broker for instance."""
        self.folder = folder
        self.port = port or free_port()
        self.advertised = advertised or self.port
        self._secure = secure
        self._controller = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> str:
        """Blocks until it answers; returns the bootstrap address."""
        properties = self.folder / "server.properties"
        if not properties.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            text = _PROPERTIES.format(
                port=self.port,
                advertised=self.advertised,
                controller=self._controller,
                listeners=self._secure.listeners if self._secure else "",
                folder=self.folder.absolute(),
            )
            formatting = ["format", "--standalone", "-t", uuid.uuid4().hex[:22], "-c", str(properties)]
            if self._secure is not None:
                text += self._secure.properties
                formatting += ["--add-scram", self._secure.scram]
            properties.write_text(text)
            self._java("kafka.tools.StorageTool", *formatting).wait()
        self._process = self._java("kafka.Kafka", str(properties))
        deadline = time.monotonic() + READY_DEADLINE_S
        while not answers(self.bootstrap):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise CannotRunKafka(f"Kafka did not start; see {self.folder}/kafka.log")
            time.sleep(0.1)
        return self.bootstrap

    def kill(self) -> None:
        """As a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, how)
            self._process.wait()

    def _java(self, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self.folder / "kafka.log").open("ab") as log:
            command = [java(), "-Xmx512m", "-XX:+UseSerialGC", "-cp", f"{jars()}/*", *arguments]
            return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)


def java() -> str:
    found = shutil.which("java")
    if found is None:
        raise CannotRunKafka("Apache Kafka needs Java 17 or newer on PATH")
    return found


def jars() -> Path:
    """The folder with Kafka's jars; fetched once."""
    folder = HOME / "lib"
    if not any(folder.glob("kafka_*.jar")):
        maven = shutil.which("mvn")
        if maven is None:
            raise CannotRunKafka("Apache Kafka is fetched with Maven (mvn on PATH)")
        command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            raise CannotRunKafka(f"Maven could not fetch Kafka: {done.stdout[-500:]}")
    return folder


def answers(bootstrap: str) -> bool:
    with suppress(KafkaException):
        AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=1)
        return True
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    pid_file = HOME / "pid"
    if sys.argv[1:] == ["stop"]:
        if pid_file.is_file():
            with suppress(ProcessLookupError):
                os.kill(int(pid_file.read_text()), signal.SIGTERM)
            pid_file.unlink()
        print("Kafka is stopped.")
        return
    server = KafkaServer(HOME / "data", PORT)
    try:
        if not answers(server.bootstrap):
            server.start()
            pid_file.write_text(str(server.pid))
    except CannotRunKafka as error:
        sys.exit(f"✗ {error}.")
    print(
        f"Apache Kafka answers on {server.bootstrap}. Its data and log are in {HOME / 'data'}; `make kafka-stop` ends it."
    )
    print(f"  SENTINAI_BROKER=kafka SENTINAI_KAFKA_BOOTSTRAP_SERVERS={server.bootstrap} make up")


if __name__ == "__main__":
    main()
