"""Relay: brings every event of the log to Kafka. Runs in a process of its own, beside the workers."""

from sentinai.errors import Unavailable
from sentinai.messaging.broker import RELAY, Connection
from sentinai.workers.base import Platform

BATCH_MAX = 2_000


class RelayLoop:
    name = RELAY

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.handled = 0
        self.more = True
        from sentinai.messaging.relay import Relay  # the client library is loaded only where it is used

        if platform.kafka is None:
            raise Unavailable("The relay needs Kafka: set SENTINAI_BROKER=kafka and SENTINAI_KAFKA_BOOTSTRAP_SERVERS.")
        self.relay = Relay(platform.kafka)

    async def process(self) -> int:
        """Forward one batch; returns how many events."""
        async with self.platform.database.transaction() as tx:
            forwarded = await self.relay.forward(tx, BATCH_MAX)
        self.handled += forwarded
        return forwarded

    async def lag(self, tx: Connection) -> int:
        from sentinai.messaging.relay import relay_lag

        return await relay_lag(tx)

    async def process_parked(self) -> int:
        """It parks nothing: it stops until Kafka takes the event."""
        return 0
