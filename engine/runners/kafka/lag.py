"""How far behind the workers are: messages that are in the broker and not committed, by role and topic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from engine.errors import Retryable
from engine.flow import FLOW
from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.stateful import ROLE
from engine.runners.kafka.topics import admin, reach

_TIMEOUT_S: Final = 10.0
_PAUSE_S: Final = 1.0


def lag(config: KafkaConfig) -> dict[str, int]:
    """Return, by `role topic`, how many messages wait, in the order of the flow.

    All zero means that everything sent so far is in its results: a step's output is in the broker before its input
    counts as taken. Raises Retryable when the broker does not answer.
    """
    present = reach(config)
    telemetry = [one.topic for one in config.telemetry]
    ours = [config.topic(stream) for wire in FLOW for stream in wire.reads]
    ends = _ends(config, [topic for topic in (*telemetry, *ours) if topic in present], present)
    return _behind(config, "decode", telemetry, ends) | _behind(config, ROLE, ours, ends)


def _ends(config: KafkaConfig, topics: Iterable[str], present: Mapping[str, int]) -> dict[tuple[str, int], int]:
    from confluent_kafka import KafkaException, TopicPartition
    from confluent_kafka.admin import OffsetSpec

    client = admin(config)  # held until the answers are there: they end with it
    asked = {TopicPartition(topic, n): OffsetSpec.latest() for topic in topics for n in range(present[topic])}
    found: dict[tuple[str, int], int] = {}
    try:
        for one, future in client.list_offsets(asked, request_timeout=_TIMEOUT_S).items() if asked else ():
            found[one.topic, one.partition] = future.result().offset
    except KafkaException as error:
        raise Retryable(f"kafka: the ends of topics cannot be read: {error.args[0].str()}", _PAUSE_S) from error
    return found


def _behind(
    config: KafkaConfig, role: str, topics: Iterable[str], ends: Mapping[tuple[str, int], int]
) -> dict[str, int]:
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    found = {f"{role} {topic}": 0 for topic in topics}
    asked = [TopicPartition(topic, n) for topic, n in sorted(ends) if f"{role} {topic}" in found]
    consumer = Consumer(config.client(group_id=config.group(role), enable_auto_commit=False))
    try:
        for one in consumer.committed(asked, timeout=_TIMEOUT_S) if asked else ():
            found[f"{role} {one.topic}"] += ends[one.topic, one.partition] - max(one.offset, 0)
    except KafkaException as error:
        raise Retryable(f"kafka: committed offsets cannot be read: {error.args[0].str()}", _PAUSE_S) from error
    finally:
        consumer.close()
    return found
