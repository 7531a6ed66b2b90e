"""Keeps what comes in Kafka: one message a request, in the topic of its format, acknowledged by all replicas.

The key is the hash of the body, so that a request that is sent again lands in the same partition, and a header says
that the message is a whole request: there its repeated rows are recognised while their windows are open.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from engine.errors import SourceError
from engine.repeats import request_hash
from engine.runners.kafka.config import REQUEST_HEADER, KafkaConfig
from opsbrain.keep import NoPlace, TooLarge, Unavailable

if TYPE_CHECKING:
    from confluent_kafka import Producer

DELIVERY_S: Final = 10.0  # how long a sender waits at most; a broker that restarts is back in less, or it comes again
RETRY_S: Final = 5.0
_QUEUED_BYTES: Final = 256 << 20  # bodies that wait for the broker are in the budget of receivers already
_OVERHEAD_BYTES: Final = 4_096  # of key, header and framing


class _Delivery:
    """One body on its way; `error` is what the broker, or the client, said against it."""

    __slots__ = ("done", "error")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.error: Any = None

    def settle(self, error: Any, message: Any) -> None:
        """Take the delivery report."""
        self.error = error
        self.done.set()


class KafkaKeep:
    """Keeps bodies in the topics of their formats. Use as a context manager; thread-safe."""

    def __init__(self, config: KafkaConfig, topics: Mapping[str, str], max_body_bytes: int) -> None:
        """Connect lazily; raise SourceError when the client refuses its settings. `topics` are by format."""
        self._config = config
        self._topics = topics
        self._max_bytes = max_body_bytes + _OVERHEAD_BYTES
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._producer = self._connected()
        self._poller = threading.Thread(target=self._poll, name="kafka-deliveries", daemon=True)
        self._poller.start()

    def __enter__(self) -> KafkaKeep:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def keep(self, format: str, body: bytes) -> None:
        """Produce `body`; it is acknowledged by every replica in sync when this returns."""
        topic = self._topics.get(format)
        if topic is None:
            raise NoPlace(f"no topic of kafka.telemetry has format {format[:40]!r}; list one to take it here")
        delivery = self._sent(topic, body)
        # librdkafka gives up by itself; the second more is for the report to come through
        if not delivery.done.wait(DELIVERY_S + 1):
            raise Unavailable(f"kafka: no broker took the message in {DELIVERY_S:g} s", RETRY_S)
        if delivery.error is not None:
            raise self._refusal(delivery.error, topic)

    def close(self) -> None:
        """Wait for what is under way, as long as a sender would, and end."""
        self._producer.flush(DELIVERY_S)
        self._stopped.set()
        self._poller.join()

    def _sent(self, topic: str, body: bytes) -> _Delivery:
        from confluent_kafka import KafkaException

        name = f"{request_hash(body):016x}".encode()
        delivery = _Delivery()
        try:
            self._producer.produce(topic, body, key=name, headers=[(REQUEST_HEADER, name)], on_delivery=delivery.settle)
        except BufferError as error:
            raise Unavailable("kafka: too much waits for the broker", RETRY_S) from error
        except KafkaException as error:
            raise self._refusal(error.args[0], topic) from error
        return delivery

    def _refusal(self, error: Any, topic: str) -> Unavailable | TooLarge:
        """Return what to tell the sender; a producer that is beyond repair is replaced."""
        from confluent_kafka import KafkaError

        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return TooLarge(f"larger than topic {topic} takes (max.message.bytes); send less at once or raise it there")
        if error.fatal():
            with self._lock:
                self._producer = self._connected()
        return Unavailable(f"kafka: cannot produce to {topic}: {error.str()}", RETRY_S)

    def _connected(self) -> Producer:
        from confluent_kafka import KafkaException, Producer

        settings = self._config.client(
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            compression_type="lz4",
            delivery_timeout_ms=int(DELIVERY_S * 1000),
            message_max_bytes=self._max_bytes,
            queue_buffering_max_kbytes=_QUEUED_BYTES >> 10,
        )
        try:
            return Producer(settings)
        except (KafkaException, ValueError) as error:
            raise SourceError(f"kafka: the client refuses its settings: {error}") from error

    def _poll(self) -> None:
        while not self._stopped.is_set():
            self._producer.poll(0.1)
