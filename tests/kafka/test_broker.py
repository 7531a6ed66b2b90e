"""The broker that the other tests of this folder rely on."""

import time

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic


def test_what_is_produced_comes_back_with_key_headers_and_partition(broker):
    topic = f"smoke.{time.time_ns()}"  # a broker that stays may hold what an earlier run left
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(topic, num_partitions=3, replication_factor=1)])[topic].result(timeout=30)

    producer = Producer({"bootstrap.servers": broker.bootstrap})
    producer.produce(topic, value=b"\x00row", key=b"k", partition=2, headers={"kind": b"features"})
    assert producer.flush(30) == 0

    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None and message.error() is None
    assert (message.partition(), message.offset()) == (2, 0)
    assert (message.key(), message.value(), message.headers()) == (b"k", b"\x00row", [("kind", b"features")])
