"""Does anybody work, and how far behind are they?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import Retryable
from engine.flow import FLOW
from engine.messages import FIXES, INCIDENTS
from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.topics import admin
from opsbrain.finding import Finding
from opsbrain.kafka_look import ROLES, TIMEOUT_S, Group, Look
from opsbrain.output import counted

if TYPE_CHECKING:
    from confluent_kafka import TopicPartition


@dataclass(frozen=True, slots=True)
class Place:
    """Where a group stands on one partition: what it committed (None: nothing yet) between first and next offset."""

    topic: str
    partition: int
    committed: int | None
    first: int
    next: int


def check_groups(config: KafkaConfig, seen: Look) -> Iterator[Finding]:
    """Yield a finding for each consumer group of a worker that we may see."""
    for role in ROLES:
        group = seen.groups[config.group(role)]
        if group.rights is None or "READ" in group.rights:
            topics = [one for one in _reads(config, role) if seen.topics[one].partitions]
            try:
                places = places_of(config, group.name, [(one, seen.topics[one].partitions) for one in topics])
            except Retryable as error:
                yield Finding(f"group {group.name}", "note", str(error))
            else:
                yield judge_group(group, role, places)


def judge_group(group: Group, role: str, places: Sequence[Place]) -> Finding:
    """Return what a group's members and places mean."""
    name = f"group {group.name}"
    for one in places:
        if one.committed is not None and one.committed > one.next:
            text = f"{one.topic}/{one.partition} ends at {one.next}, and {one.committed} was read: it was made anew"
            return Finding(name, "failed", f"{text}; start with another kafka.topic_prefix and kafka.group_prefix")
        if one.committed is not None and one.committed < one.first:
            return _lost(name, role, one)
    behind = sum(one.next - max(one.committed or 0, one.first) for one in places)
    if not group.members:
        if not any(one.committed is not None for one in places):
            return Finding(name, "note", "no worker has run yet")
        outcome = "warning" if behind else "note"
        return Finding(name, outcome, f"nobody works, {counted(behind, 'message')} wait; start `opsbrain worker`")
    state = "" if group.state == "STABLE" else f", {group.state.lower().replace('_', ' ')}"
    return Finding(name, "ok", f"{counted(group.members, 'worker')}{state}, {counted(behind, 'message')} behind")


def _lost(name: str, role: str, one: Place) -> Finding:
    assert one.committed is not None
    gone = counted(one.first - one.committed, "message")
    text = f"{one.topic}/{one.partition}: {gone} were deleted before they were read"
    if role == "steps":
        return Finding(name, "failed", f"{text}, so state cannot be made again; start with a new kafka.topic_prefix")
    return Finding(name, "warning", f"{text}; raise retention.ms of {one.topic}, or add workers")


def places_of(config: KafkaConfig, group: str, topics: Sequence[tuple[str, int]]) -> list[Place]:
    """Return where a group stands on each partition; raise Retryable when that cannot be read."""
    from confluent_kafka import KafkaException, TopicPartition

    asked = [TopicPartition(topic, number) for topic, count in topics for number in range(count)]
    if not asked:
        return []
    try:
        committed = _committed(config, group, asked)
        first, last = _ends(config, asked)
    except KafkaException as error:
        raise Retryable(f"its offsets cannot be read: {error.args[0].str()}", 1.0) from error
    return [Place(*at, offset if (offset := committed[at]) >= 0 else None, first[at], last[at]) for at in first]


def _committed(config: KafkaConfig, group: str, asked: list[TopicPartition]) -> dict[tuple[str, int], int]:
    from confluent_kafka import Consumer

    # not by the Admin API: its ListConsumerGroupOffsets aborts the process when a broker goes away (librdkafka 3663)
    consumer = Consumer(config.client(group_id=group, enable_auto_commit=False))
    try:
        return {(one.topic, one.partition): one.offset for one in consumer.committed(asked, timeout=TIMEOUT_S)}
    finally:
        consumer.close()


def _ends(config: KafkaConfig, asked: Sequence[TopicPartition]) -> tuple[dict[tuple[str, int], int], ...]:
    """Return the first offset of each partition, and the next one."""
    from confluent_kafka.admin import OffsetSpec

    client = admin(config)  # held until the answers are there: they end with it
    answers = [
        client.list_offsets(dict.fromkeys(asked, spec), request_timeout=TIMEOUT_S)
        for spec in (OffsetSpec.earliest(), OffsetSpec.latest())
    ]
    return tuple({(at.topic, at.partition): one.result().offset for at, one in found.items()} for found in answers)


def _reads(config: KafkaConfig, role: str) -> list[str]:
    if role == "decode":
        return list(dict.fromkeys(one.topic for one in config.telemetry))
    if role == "notify":
        return [config.topic(stream) for stream in (INCIDENTS, FIXES)]
    return list(dict.fromkeys(config.topic(stream) for wire in FLOW for stream in wire.reads))
