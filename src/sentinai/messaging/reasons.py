"""Why does Kafka not answer, and which setting fixes it?"""

from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException

_FIXES: Mapping[int, str] = {
    KafkaError._AUTHENTICATION: "It does not know this user and password (SENTINAI_KAFKA_SASL_USERNAME, "
    "SENTINAI_KAFKA_SASL_PASSWORD), wants another mechanism (SENTINAI_KAFKA_SASL_MECHANISM), or wants no password "
    "(SENTINAI_KAFKA_SECURITY_PROTOCOL).",
    KafkaError._SSL: "Its certificate is not trusted here: SENTINAI_KAFKA_SSL_CA_FILE has to hold the authority that signed it.",
    KafkaError._INVALID_ARG: "A file does not hold what it should: SENTINAI_KAFKA_SSL_CA_FILE, "
    "SENTINAI_KAFKA_SSL_CERTIFICATE_FILE or SENTINAI_KAFKA_SSL_KEY_FILE.",
    KafkaError._RESOLVE: "There is no such host: SENTINAI_KAFKA_BOOTSTRAP_SERVERS.",
}
_REFUSES_OURS = (
    "It does not accept our certificate: SENTINAI_KAFKA_SSL_CERTIFICATE_FILE and SENTINAI_KAFKA_SSL_KEY_FILE."
)
_UNKNOWN = (
    "Is it running, is the address right (SENTINAI_KAFKA_BOOTSTRAP_SERVERS), and does it want to be talked to in this way "
    "(SENTINAI_KAFKA_SECURITY_PROTOCOL)?"
)


def _fix(told: KafkaError) -> str:
    if "certificate verify failed" in told.str():  # in the first step of a handshake it has no code of its own
        return _FIXES[KafkaError._SSL]
    if "alert" in told.str() and "certificate" in told.str():  # it hangs up, also without a code
        return _REFUSES_OURS
    return _FIXES.get(told.code(), _UNKNOWN)


class Reasons:
    """What one client of Kafka said last. Its exceptions only say that something took too long."""

    def __init__(self) -> None:
        self._last: KafkaError | None = None

    def heard(self, error: KafkaError) -> None:
        """The client's `error_cb`."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._last = error

    def refused(self) -> bool:
        """Somebody is there and does not want us: waiting longer changes nothing."""
        return self._last is not None and _fix(self._last) not in (_UNKNOWN, _FIXES[KafkaError._RESOLVE])

    def sentence(self, error: KafkaError | KafkaException) -> str:
        """The last thing heard, or `error` itself; then what fixes it."""
        told: KafkaError = self._last or (error.args[0] if isinstance(error, KafkaException) else error)
        return f"{told.str()}. {_fix(told)}"

    def forget(self) -> None:
        self._last = None
