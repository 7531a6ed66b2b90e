"""How far behind the workers are: messages that are in the broker and not committed, by role and topic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from engine.errors import SourceError
from engine.flow import FLOW
from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.stateful import ROLE
from engine.runners.kafka.topics import reach

_TIMEOUT_S: Final = 10.0


def lag(config: KafkaConfig) -> dict[str, int]:
    """Return, by `role topic`, how many messages wait, in the order of the flow.

    All zero means that everything sent so far is in its results: a step's output is in the broker before its input
    counts as taken. Raises Retryable or SourceError when the broker does not answer.
    """
    present = reach(config)
    behind = _behind(config, "decode", [one.topic for one in config.telemetry], present)
    return behind | _behind(config, ROLE, [config.topic(stream) for wire in FLOW for stream in wire.reads], present)


def _behind(config: KafkaConfig, role: str, topics: Iterable[str], present: dict[str, int]) -> dict[str, int]:
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    consumer = Consumer(config.client(group_id=config.group(role), enable_auto_commit=False))
    found: dict[str, int] = {}
    try:
        for topic in topics:
            partitions = [TopicPartition(topic, number) for number in range(present.get(topic, 0))]
            found[f"{role} {topic}"] = 0
            for one in consumer.committed(partitions, timeout=_TIMEOUT_S) if partitions else ():
                low, high = consumer.get_watermark_offsets(one, timeout=_TIMEOUT_S)
                found[f"{role} {topic}"] += high - max(one.offset, low)
    except KafkaException as error:
        raise SourceError(f"kafka: how far behind the workers are cannot be read: {error.args[0].str()}") from error
    finally:
        consumer.close()
    return found
