"""Reads stretches of partitions outside every consumer group: snapshots, inputs that are behind, conclusions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from engine.errors import SourceError, StateMismatch
from engine.runners.kafka.config import KafkaConfig

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaException, TopicPartition

READ_TIMEOUT_S: Final = 30.0
_ANSWER_S: Final = 10.0
_PAUSE_S: Final = 0.5

T = TypeVar("T")


def patiently(ask: Callable[[], T], what: str) -> T:
    """Return what `ask` returns, asking again while the broker is away or moves its coordinator; then a SourceError."""
    from confluent_kafka import KafkaException

    until_s = time.monotonic() + READ_TIMEOUT_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            if time.monotonic() >= until_s or not _passes(error):
                raise SourceError(f"kafka: {what} cannot be read: {error.args[0].str()}") from error
            time.sleep(_PAUSE_S)


def _passes(error: KafkaException) -> bool:
    from confluent_kafka import KafkaError

    code = error.args[0].code()
    return bool(error.args[0].retriable()) or code in (
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._WAIT_COORD,
        KafkaError._ALL_BROKERS_DOWN,
    )


class TopicReader:
    """One consumer that never subscribes. The group's name is only for asking what it committed: it disturbs nobody."""

    def __init__(self, config: KafkaConfig, group: str) -> None:
        from confluent_kafka import Consumer

        self._consumer: Consumer = Consumer(
            config.client(
                group_id=group,
                enable_auto_commit=False,
                enable_partition_eof=True,
                auto_offset_reset="error",
                fetch_wait_max_ms=50,
            )
        )

    def whole(self, partitions: Sequence[tuple[str, int]]) -> Iterator[Any]:
        """Yield all messages of (topic, partition)s up to their current ends, each partition in its order.

        Together they cost one wait for the broker, not one each. Raises SourceError when it does not answer.
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
        found = patiently(lambda: self._consumer.committed(asked, timeout=_ANSWER_S), "committed offsets")
        return {one.topic: one.offset for one in found if one.offset >= 0}

    def lowest(self, topic: str, partition: int) -> int:
        """Return the offset of the first message that there is, or will be."""
        from confluent_kafka import TopicPartition

        asked = TopicPartition(topic, partition)
        low, _ = patiently(
            lambda: self._consumer.get_watermark_offsets(asked, timeout=_ANSWER_S), f"{topic}/{partition}"
        )
        return int(low)

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def _read(self, partitions: Sequence[TopicPartition]) -> Iterator[Any]:
        from confluent_kafka import KafkaError

        unread = {(one.topic, one.partition) for one in partitions}
        self._consumer.assign(partitions)
        try:
            while unread:
                message = self._consumer.poll(READ_TIMEOUT_S)
                if message is None:
                    topic, number = min(unread)
                    raise SourceError(f"kafka: {topic}/{number} cannot be read: no answer in {READ_TIMEOUT_S:g} s")
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard((message.topic(), message.partition()))
                elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                    raise StateMismatch(
                        f"kafka: {message.topic()}/{message.partition()} no longer holds messages that state must be "
                        "made from again; raise its retention and start with a new kafka.topic_prefix"
                    )
                elif not error.retriable():
                    raise SourceError(f"kafka: cannot read: {error.str()}")
        finally:
            self._consumer.unassign()
