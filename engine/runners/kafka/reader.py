"""Reads stretches of partitions outside every consumer group: snapshots, inputs that are behind, conclusions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from engine.errors import SourceError, StateMismatch
from engine.runners.kafka.config import KafkaConfig

if TYPE_CHECKING:
    from confluent_kafka import Consumer, TopicPartition

READ_TIMEOUT_S: Final = 30.0


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
        from confluent_kafka import KafkaException, TopicPartition

        try:
            found = self._consumer.committed([TopicPartition(one, partition) for one in topics], timeout=READ_TIMEOUT_S)
        except KafkaException as error:
            raise SourceError(f"kafka: committed offsets cannot be read: {error.args[0].str()}") from error
        return {one.topic: one.offset for one in found if one.offset >= 0}

    def lowest(self, topic: str, partition: int) -> int:
        """Return the offset of the first message that there is, or will be."""
        from confluent_kafka import KafkaException, TopicPartition

        try:
            low, _ = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=READ_TIMEOUT_S)
        except KafkaException as error:
            raise SourceError(f"kafka: {topic}/{partition} cannot be read: {error.args[0].str()}") from error
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
