"""Snapshots in a compacted topic: whole or not at all, and the furthest one counts."""

from __future__ import annotations

import time

import numpy as np
import pytest

from engine.runners.kafka.config import SNAPSHOTS, KafkaConfig
from engine.runners.kafka.reader import TopicReader
from engine.runners.kafka.sender import Sender
from engine.runners.kafka.snapshots import CHUNK_BYTES, Snapshot, Snapshots
from engine.runners.kafka.topics import create_topics
from tests.kafka.conftest import Broker


@pytest.fixture(scope="module")
def config(broker: Broker) -> KafkaConfig:
    config = KafkaConfig(broker.bootstrap, (), ("x",), topic_prefix=f"snap{time.time_ns()}.", partitions=4)
    create_topics(config)
    create_topics(config)  # another worker that starts at the same time
    return config


def worker(config: KafkaConfig) -> Snapshots:
    return Snapshots(config, Sender(config), TopicReader(config, "snapshots-test"))


def keys(config: KafkaConfig, partition: int) -> set[bytes]:
    """Return the live keys of a partition."""
    alive: dict[bytes, bool] = {}
    for one in TopicReader(config, "snapshots-test").whole([(config.topic(SNAPSHOTS), partition)]):
        alive[one.key()] = one.value() is not None
    return {key for key, here in alive.items() if here}


def snapshot(position: int, partition: int, bytes_: int = 10) -> Snapshot:
    noise = np.random.default_rng(position).integers(0, 256, bytes_).astype(np.uint8)
    return Snapshot("detect", partition, {"features": position}, {"version": 1, "noise": noise})


def test_what_was_written_is_loaded_whole_and_what_it_replaces_goes(config: KafkaConfig) -> None:
    one = worker(config)
    for position in (5, 9):
        one.write([snapshot(position, 0, 2 * CHUNK_BYTES + 7)])
    loaded = worker(config).load(0)["detect"]
    assert loaded.positions == {"features": 9}
    assert np.array_equal(loaded.state["noise"], snapshot(9, 0, 2 * CHUNK_BYTES + 7).state["noise"])
    assert len(keys(config, 0)) == 4  # three chunks and a manifest


def test_a_stale_snapshot_that_comes_later_does_not_win(config: KafkaConfig) -> None:
    zombie, owner = worker(config), worker(config)
    zombie.write([snapshot(100, 1)])
    owner.load(1)
    owner.write([snapshot(300, 1)])
    zombie.write([snapshot(200, 1)])
    successor = worker(config)
    assert successor.load(1)["detect"].positions == {"features": 300}
    successor.write([snapshot(400, 1)])
    assert len(keys(config, 1)) == 2  # the zombie's leftovers went with it


def test_a_snapshot_without_its_end_does_not_count(config: KafkaConfig) -> None:
    writer, sender = worker(config), Sender(config)
    writer.write([snapshot(10, 2)])
    before = keys(config, 2)
    writer.write([snapshot(20, 2, 2 * CHUNK_BYTES)])
    (lost,) = [key for key in keys(config, 2) if key.endswith(b"000001")]
    sender.put(config.topic(SNAPSHOTS), 2, lost, None)
    sender.flush()
    assert worker(config).load(2) == {}
    assert before.isdisjoint(keys(config, 2))


def test_nothing_is_nothing(config: KafkaConfig) -> None:
    assert worker(config).load(3) == {}
