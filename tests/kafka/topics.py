"""Topics of a test's own: made, ended, and read whole."""

from __future__ import annotations

import time
from typing import Any

from engine.runners.kafka.config import END, MARK_HEADER
from tests.kafka.conftest import Broker


def create_topic(broker: Broker, partitions: int, prefix: str = "receive", **settings: str) -> str:
    """Make a topic of this test's own; return its name."""
    from confluent_kafka.admin import AdminClient, NewTopic

    name = f"{prefix}.{time.time_ns()}"
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    config = {key.replace("_", "."): value for key, value in settings.items()}
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(20)
    return name


def end(broker: Broker, topic: str, partitions: int) -> None:
    """Say that nothing more comes, so that windows close."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for number in range(partitions):
        producer.produce(topic, b"", partition=number, headers=[(MARK_HEADER, END)])
    assert producer.flush(20) == 0


def messages(broker: Broker, topic: str) -> list[Any]:
    """Return everything in a topic."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "test", "enable.auto.commit": False})
    found = []
    try:
        for number in consumer.list_topics(topic, timeout=20).topics[topic].partitions:
            part = TopicPartition(topic, number, 0)
            end = consumer.get_watermark_offsets(part, timeout=20)[1]
            consumer.assign([part])
            while sum(one.partition() == number for one in found) < end:
                found += consumer.consume(500, timeout=1)
    finally:
        consumer.close()
    return found
