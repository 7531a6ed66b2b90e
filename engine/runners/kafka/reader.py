"""Reads stretches of partitions outside every consumer group: snapshots, inputs that are behind, conclusions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from engine.errors import StateMismatch
from engine.runners.kafka.bounds import bounds_of
from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.waiting import AtMost, Patience, passes, raised

if TYPE_CHECKING:
    from confluent_kafka import Consumer, TopicPartition

_ANSWER_S: Final = 5.0
_POLL_S: Final = 0.5
_PAUSE_S: Final = 0.5

T = TypeVar("T")


def patiently(ask: Callable[[], T], what: str, patience: Patience) -> T:
    """Return what `ask` returns, asking again while the broker is away or moves its coordinator."""
    from confluent_kafka import KafkaException

    since_s = time.monotonic()
    while True:
        try:
            return ask()
        except KafkaException as error:
            if not passes(error.args[0]):
                raise raised(error.args[0], f"{what} cannot be read") from error
            patience.go_on(since_s, f"{what} cannot be read")
            time.sleep(_PAUSE_S)


class TopicReader:
    """One consumer that never subscribes. The group's name is only for asking what it committed: it disturbs nobody."""

    def __init__(self, config: KafkaConfig, group: str, patience: Patience | None = None) -> None:
        from confluent_kafka import Consumer

        self._patience = patience or AtMost()
        bounds = bounds_of(config.memory_limit_bytes)
        self._consumer: Consumer = Consumer(
            config.client(
                group_id=group,
                enable_auto_commit=False,
                enable_partition_eof=True,
                auto_offset_reset="error",
                fetch_wait_max_ms=50,
                queued_max_messages_kbytes=bounds.prefetch_bytes // 1024,
                fetch_max_bytes=bounds.fetch_bytes,
            )
        )

    def whole(self, partitions: Sequence[tuple[str, int]]) -> Iterator[Any]:
        """Yield all messages of (topic, partition)s up to their current ends, each partition in its order.

        Together they cost one wait for the broker, not one each. How long that may be, the patience says.
        """
        from confluent_kafka import OFFSET_BEGINNING, TopicPartition

        return self._read([TopicPartition(topic, number, OFFSET_BEGINNING) for topic, number in partitions])

    def between(self, topic: str, partition: int, start: int, end: int) -> Iterator[Any]:
        """Yield the messages of [start, end); raise StateMismatch when those from `start` on are gone."""
        from confluent_kafka import TopicPartition

        for message in self._read([TopicPartition(topic, partition, start)]):
            if message.offset() >= end:
                return
            yield message

    def committed(self, topics: Iterable[str], partition: int) -> dict[str, int]:
        """Return the group's committed offset of `partition` of each topic that has one."""
        from confluent_kafka import TopicPartition

        asked = [TopicPartition(one, partition) for one in topics]
        found = patiently(
            lambda: self._consumer.committed(asked, timeout=_ANSWER_S), "committed offsets", self._patience
        )
        return {one.topic: one.offset for one in found if one.offset >= 0}

    def lowest(self, topic: str, partition: int) -> int:
        """Return the offset of the first message that there is, or will be."""
        from confluent_kafka import TopicPartition

        asked = TopicPartition(topic, partition)
        low, _ = patiently(
            lambda: self._consumer.get_watermark_offsets(asked, timeout=_ANSWER_S),
            f"{topic}/{partition}",
            self._patience,
        )
        return int(low)

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def _read(self, partitions: Sequence[TopicPartition]) -> Iterator[Any]:
        from confluent_kafka import KafkaError

        unread = {(one.topic, one.partition) for one in partitions}
        self._consumer.assign(partitions)
        since_s = time.monotonic()
        try:
            while unread:
                message = self._consumer.poll(_POLL_S)
                error = message.error() if message is not None else None
                if message is None or (error is not None and passes(error)):
                    topic, number = min(unread)
                    self._patience.go_on(since_s, f"{topic}/{number} cannot be read")
                    continue
                since_s = time.monotonic()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard((message.topic(), message.partition()))
                elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                    raise StateMismatch(
                        f"kafka: {message.topic()}/{message.partition()} no longer holds messages that state must be "
                        "made from again; raise its retention and start with a new kafka.topic_prefix and "
                        "kafka.group_prefix"
                    )
                else:
                    raise raised(error, "cannot read")
        finally:
            self._consumer.unassign()
