"""The way out to the broker: one idempotent producer, and a flush that either means "all of it is there" or raises.

Nothing that was sent is ever given up: messages have no timeout, and while the broker is away the local queue fills up
to its bound and whoever sends waits. How long is the patience of whoever made the sender.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from engine.messages import Message
from engine.runners.kafka.bounds import bounds_of
from engine.runners.kafka.codec import encode
from engine.runners.kafka.config import LARGEST_MESSAGE_BYTES, KafkaConfig
from engine.runners.kafka.waiting import AtMost, Patience, raised
from engine.runners.meters import Meters

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Producer

_ASK_S: Final = 0.2  # how often the patience is asked


class Sender:
    """Sends messages of ours. Not to be shared between threads: whoever commits offsets owns the flush before it."""

    def __init__(self, config: KafkaConfig, meters: Meters | None = None, patience: Patience | None = None) -> None:
        from confluent_kafka import Producer

        self._config = config
        self._meters = meters or Meters()
        self._patience = patience or AtMost()
        self._failed: list[KafkaError] = []
        self._producer: Producer = Producer(
            config.client(
                acks="all",
                enable_idempotence=True,
                linger_ms=5,
                compression_type="none",  # what is large is packed already: frames and snapshots, by columns
                message_max_bytes=LARGEST_MESSAGE_BYTES,
                message_timeout_ms=0,
                queue_buffering_max_kbytes=bounds_of(config.memory_limit_bytes).outgoing_bytes // 1024,
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
        since_s = time.monotonic()
        while True:
            try:
                self._producer.produce(
                    topic, value, key=key, partition=partition, headers=list(headers), on_delivery=self._delivered
                )
                break
            except BufferError:  # the local queue is full: let the broker catch up
                self._producer.poll(_ASK_S)
                self._raise_if_failed()
                self._patience.go_on(since_s, "cannot produce")
        self._producer.poll(0)

    def flush(self) -> None:
        """Return when all that was sent is in the broker; raise as the patience says, or what the broker refused."""
        since_s = time.monotonic()
        while self._producer.flush(_ASK_S):
            self._raise_if_failed()
            self._patience.go_on(since_s, "cannot produce")
        self._raise_if_failed()

    def close(self) -> None:
        """Forget what is not in the broker yet: whoever reads the same again sends it again."""
        self._producer.purge()
        self._producer.flush(0)

    def _raise_if_failed(self) -> None:
        if self._failed:
            raise raised(self._failed[0], "cannot produce")

    def _delivered(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self._failed.append(error)
