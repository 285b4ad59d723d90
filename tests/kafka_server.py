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
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{advertised}
controller.listener.names=CONTROLLER
log.dirs={folder}/log
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""


class CannotRunKafka(Exception):
    """Says why, and what to install."""


class KafkaServer:
    """One broker over a folder; `kill` and `start` again keep what it stored."""

    def __init__(self, folder: Path, port: int | None = None, advertised: int | None = None) -> None:
        """Clients are told to use the `advertised` port, of a proxy before the broker for instance."""
        self.folder = folder
        self.port = port or free_port()
        self.advertised = advertised or self.port
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
            properties.write_text(
                _PROPERTIES.format(
                    port=self.port,
                    advertised=self.advertised,
                    controller=self._controller,
                    folder=self.folder.absolute(),
                )
            )
            cluster = uuid.uuid4().hex[:22]
            self._java("kafka.tools.StorageTool", "format", "--standalone", "-t", cluster, "-c", str(properties)).wait()
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
