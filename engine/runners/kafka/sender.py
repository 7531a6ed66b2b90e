"""The way out to the broker: one idempotent producer, and a flush that either means "all of it is there" or raises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from engine.errors import SourceError
from engine.messages import Message
from engine.runners.kafka.codec import encode
from engine.runners.kafka.config import LARGEST_MESSAGE_BYTES, KafkaConfig
from engine.runners.meters import Meters

if TYPE_CHECKING:
    from confluent_kafka import Producer

FLUSH_TIMEOUT_S: Final = 30.0  # a broker that restarts is back in less; a longer outage ends the worker


class Sender:
    """Sends messages of ours. Not to be shared between threads: whoever commits offsets owns the flush before it."""

    def __init__(self, config: KafkaConfig, meters: Meters | None = None) -> None:
        from confluent_kafka import Producer

        self._config = config
        self._meters = meters or Meters()
        self._failed: list[str] = []
        self._producer: Producer = Producer(
            config.client(
                acks="all",
                enable_idempotence=True,
                linger_ms=5,
                compression_type="lz4",
                message_max_bytes=LARGEST_MESSAGE_BYTES,
            )
        )

    def send(self, message: Message) -> None:
        """Send one message of a stream to every partition that it concerns."""
        with self._meters.stage("encode"):
            wires = encode(message, self._config.partitions)
        for wire in wires:
            self.put(self._config.topic(wire.stream), wire.partition, wire.key, wire.value, wire.headers)

    def put(
        self,
        topic: str,
        partition: int,
        key: bytes,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Send bytes (None is a tombstone); they are in the broker only after the next `flush`."""
        while True:
            try:
                self._producer.produce(
                    topic, value, key=key, partition=partition, headers=list(headers), on_delivery=self._delivered
                )
                break
            except BufferError:  # the local queue is full: let the broker catch up
                self._producer.poll(0.1)
                self._raise_if_failed()
        self._producer.poll(0)

    def flush(self, timeout_s: float = FLUSH_TIMEOUT_S) -> None:
        """Return when all that was sent is in the broker; raise SourceError when it is not within `timeout_s`."""
        left = self._producer.flush(timeout_s)
        self._raise_if_failed()
        if left:
            raise SourceError(f"kafka: cannot produce: {left} messages were not taken in {timeout_s:g} s")

    def _raise_if_failed(self) -> None:
        if self._failed:
            raise SourceError(f"kafka: cannot produce: {self._failed[0]}")

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            self._failed.append(error.str())
