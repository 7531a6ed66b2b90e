"""Puts messages into a topic before anything is measured, and says what that cost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from engine.errors import SourceError
from engine.runners.kafka.config import END, MARK_HEADER

if TYPE_CHECKING:
    from confluent_kafka import Producer

COMPRESSION: Final = os.environ.get("OPSBRAIN_BENCH_COMPRESSION", "lz4")
_WAITING: Final = 400_000  # messages that may wait for the broker
_BATCH: Final = 10_000
_TIMEOUT_S: Final = 120.0


@dataclass(slots=True)
class Filled:
    """What went into a topic: messages by partition, samples (or lines) in all, and how much of it warms up."""

    topic: str
    partitions: int
    messages: dict[int, int] = field(default_factory=dict)
    items: int = 0
    bytes: int = 0
    warm: dict[int, int] = field(default_factory=dict)  # messages of each partition that belong to the warm-up
    warm_items: int = 0
    cpu_s: float = 0.0  # of this process, while it filled

    @property
    def sent(self) -> int:
        """Return how many messages there are."""
        return sum(self.messages.values())


class Filler:
    """Fills one topic. Times of messages are the broker's business; bodies are given in the order of each partition."""

    def __init__(
        self, bootstrap: str, topic: str, partitions: int, compression: str = COMPRESSION, linger_ms: int = 50
    ) -> None:
        from confluent_kafka import Producer

        self._producer: Producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "log_level": 0,
                "compression.type": compression,
                "linger.ms": linger_ms,
                "batch.size": 1_000_000,
                "queue.buffering.max.messages": 2 * _WAITING,
                "queue.buffering.max.kbytes": 2_000_000,
            }
        )
        self.filled = Filled(topic, partitions, dict.fromkeys(range(partitions), 0))
        self._began_s = time.process_time()

    def put(self, partition: int, bodies: Sequence[str | bytes], items: int | None = None) -> None:
        """Send bodies to a partition; `items` says how many samples they hold, if not one each."""
        left = iter(bodies)
        while part := list(islice(left, _BATCH)):
            self._room(len(part))
            batch: list[dict[str, Any]] = [{"value": body} for body in part]
            if self._producer.produce_batch(self.filled.topic, batch, partition=partition) != len(batch):
                raise SourceError(f"bench: {self.filled.topic}: the producer took only a part of a batch")
        self.filled.messages[partition] += len(bodies)
        self.filled.items += len(bodies) if items is None else items
        self.filled.bytes += sum(map(len, bodies))

    def put_with(self, partition: int, body: bytes, headers: Mapping[str, bytes], items: int) -> None:
        """Send one body with headers and, as `opsbrain receive` does it, the first header's value as its key."""
        self._room(1)
        key = next(iter(headers.values()))
        self._producer.produce(self.filled.topic, body, key=key, partition=partition, headers=list(headers.items()))
        self.filled.messages[partition] += 1
        self.filled.items += items
        self.filled.bytes += len(body)

    def put_watched(self, partition: int, body: str | bytes, delivered: Callable[[Any, Any], None]) -> None:
        """Send one body and have `delivered` called with the broker's answer."""
        self._room(1)
        self._producer.produce(self.filled.topic, body, partition=partition, on_delivery=delivered)
        self.filled.messages[partition] += 1
        self.filled.items += 1

    def poll(self, timeout_s: float) -> None:
        """Serve delivery reports for so long."""
        self._producer.poll(timeout_s)

    def warm(self) -> None:
        """Say that what came so far is the warm-up."""
        self.filled.warm, self.filled.warm_items = dict(self.filled.messages), self.filled.items

    def end(self, *, marks: bool = True) -> Filled:
        """Return what was sent, once the broker has it; with `marks`, every partition is said to have ended."""
        for partition in range(self.filled.partitions) if marks else ():
            self._producer.produce(self.filled.topic, b"", partition=partition, headers=[(MARK_HEADER, END)])
            self.filled.messages[partition] += 1
        if left := self._producer.flush(_TIMEOUT_S):
            raise SourceError(f"bench: {left} messages were not taken by the broker in {_TIMEOUT_S:g} s")
        self.filled.cpu_s = time.process_time() - self._began_s
        return self.filled

    def _room(self, wanted: int) -> None:
        self._producer.poll(0)
        deadline = time.monotonic() + _TIMEOUT_S
        while len(self._producer) + wanted > _WAITING:
            self._producer.poll(0.05)
            if time.monotonic() > deadline:
                raise SourceError(f"bench: {self.filled.topic}: the broker takes no messages for {_TIMEOUT_S:g} s")


def fill_slices(filler: Filler, slices: Iterable[Any]) -> None:
    """Send what `Fleet.adapter_json` yields."""
    for one in slices:
        filler.put(one.partition, one.bodies)
