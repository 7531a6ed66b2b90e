"""Sends the shops' input to the broker at a steady pace, whatever happens to it: a thread of `bench chaos`.

Each message bears its event time as its Kafka time, as if it had just been sent then: nothing is late, nothing is from
the future, and nothing depends on when the benchmark runs. A broker that is away makes messages wait, in their order.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from benchmarks.chaos_poison import LARGEST_BYTES, poison
from benchmarks.chaos_shop import BEGIN_MS, FORMAT_OF, WINDOW_MS, Shop
from engine.errors import SourceError
from engine.runners.kafka.config import END, MARK_HEADER
from engine.schemas import Kind

if TYPE_CHECKING:
    from confluent_kafka import Producer

SCOPES: Final = ("east", "west")
PARTITIONS: Final[Mapping[Kind, int]] = {"logs": 2, "metrics": 2, "spans": 2, "events": 1, "objects": 1}
_FLUSH_S: Final = 120.0
AHEAD_WINDOWS: Final = 50  # sent at once: nothing happens in them that is worth a fault
_LIMIT: Final = 1_000_000  # messages that may wait for a broker that is away


class Feeder:
    """Feeds windows at `windows_per_s` from `start` to `finish`; poison is mixed in on request."""

    def __init__(self, bootstrap: str, seed: int, windows_per_s: float, prefix: str = "telemetry.") -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._pause_s = 1 / windows_per_s
        self._shops = {scope: Shop(seed, scope) for scope in SCOPES}
        self._random = Random(f"{seed}/poison")
        self._poison = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._feed, name="feeder", daemon=True)
        self._failed: list[str] = []
        self.window = 0
        self.sent = 0
        self.poisoned = 0

    def topics(self) -> dict[str, tuple[str, str]]:
        """Return format and scope by topic."""
        return {
            f"{self._prefix}{scope}.{kind}": (format, scope) for scope in SCOPES for kind, format in FORMAT_OF.items()
        }

    def start(self) -> None:
        """Make the topics and begin."""
        self._create()
        self._producer = self._connected()
        self._thread.start()

    def poison(self, messages: int) -> None:
        """Ask for so many poisonous messages among those of the next window."""
        with self._lock:
            self._poison += messages

    def finish(self) -> None:
        """End every input with an end mark; return when everything is in the broker."""
        self.stop()
        for scope in SCOPES:
            for kind, partitions in PARTITIONS.items():
                for number in range(partitions):
                    self._put(f"{self._prefix}{scope}.{kind}", b"", number, self.window, [(MARK_HEADER, END)])
        if left := self._producer.flush(_FLUSH_S):
            raise SourceError(f"chaos: the broker did not take {left} messages in {_FLUSH_S:g} s")
        if self._failed:
            raise SourceError(f"chaos: {len(self._failed)} messages were refused, first: {self._failed[0]}")

    def stop(self) -> None:
        """Send no further windows."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(_FLUSH_S)

    def _feed(self) -> None:
        due_s = time.monotonic()
        while not self._over.is_set():
            self._send_window()
            if self.window < AHEAD_WINDOWS:
                continue
            due_s = max(due_s + self._pause_s, time.monotonic() - 5)  # a machine that slept catches up a little only
            self._over.wait(max(0.0, due_s - time.monotonic()))

    def _send_window(self) -> None:
        with self._lock:
            bad, self._poison = self._poison, 0
        for scope, shop in self._shops.items():
            said = shop.window(self.window)
            for number, one in enumerate(said):
                topic, partitions = f"{self._prefix}{scope}.{one.kind}", PARTITIONS[one.kind]
                self._put(topic, one.body, crc32(one.place.encode()) % partitions, self.window)
                if number % 7 == 3 and bad:
                    bad -= 1
                    self._put_poison()
        self.window += 1

    def _put_poison(self) -> None:
        scope, kind = self._random.choice(SCOPES), self._random.choice(sorted(PARTITIONS))
        place = self._random.randrange(PARTITIONS[kind])
        self._put(f"{self._prefix}{scope}.{kind}", poison(self._random), place, self.window)
        self.poisoned += 1

    def _put(
        self, topic: str, body: bytes | None, partition: int, window: int, headers: Sequence[tuple[str, bytes]] = ()
    ) -> None:
        at_ms = BEGIN_MS + (window + 1) * WINDOW_MS
        while True:
            try:
                self._producer.produce(
                    topic,
                    body,
                    partition=partition,
                    timestamp=at_ms,
                    headers=list(headers),
                    on_delivery=self._settled,
                )
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)
        self.sent += 1

    def _settled(self, error: Any, message: Any) -> None:
        if error is not None:
            self._failed.append(f"{message.topic()}: {error.str()}")

    def _connected(self) -> Producer:
        from confluent_kafka import Producer

        return Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "enable.idempotence": True,  # each message once and in order, however often it has to be sent
                "message.timeout.ms": 0,  # wait for the broker for as long as it takes
                "linger.ms": 20,
                "message.max.bytes": LARGEST_BYTES,
                "queue.buffering.max.messages": _LIMIT,
                "reconnect.backoff.max.ms": 1_000,
                "log_level": 0,
            }
        )

    def _create(self) -> None:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 0})
        config = {"max.message.bytes": str(LARGEST_BYTES)}
        wanted = [
            NewTopic(f"{self._prefix}{scope}.{kind}", partitions, 1, config=config)
            for scope in SCOPES
            for kind, partitions in PARTITIONS.items()
        ]
        try:
            for future in admin.create_topics(wanted).values():
                future.result(timeout=30)
        except KafkaException as error:
            raise SourceError(f"chaos: cannot create topics: {error.args[0].str()}") from error
