"""Do the clocks agree: the broker's with ours, and those of whoever sends telemetry?

The broker's is read from the time that it gives to a message. That message is a tombstone in our topic of snapshots,
which means nothing there and is taken away by the next compaction; it also shows that a write is acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from engine.runners.kafka.config import SNAPSHOTS, KafkaConfig
from engine.runners.kafka.topics import admin
from opsbrain.finding import Finding
from opsbrain.kafka_look import TIMEOUT_S, Look

ALLOWED_MS: Final = 5_000
_KEY: Final = b"doctor/clock"
_APPENDED: Final = 2  # librdkafka's number for "the time at which the broker appended it"

Clock = Callable[[], int]
"""Milliseconds since 1970."""


def check_clocks(config: KafkaConfig, seen: Look, future_ms: int, clock: Clock) -> Iterator[Finding]:
    """Yield a finding for the broker's clock, and one for each topic of telemetry."""
    topic = seen.topics[config.topic(SNAPSHOTS)]
    if not topic.partitions or topic.leaderless or (topic.rights is not None and "WRITE" not in topic.rights):
        yield Finding("clock of the broker", "note", f"seen once {topic.name} is there and may be written")
    else:
        yield _broker(config, topic.name, clock)
    for one in config.telemetry:
        told = seen.topics[one.topic]
        if told.partitions and not told.hidden:
            yield judge_newest(one.topic, newest_ms(config, one.topic, told.partitions), clock(), future_ms)


def judge_offset(offset_ms: int, spread_ms: int) -> Finding:
    """Return what an offset of the broker's clock to ours means; it is known to within `spread_ms`."""
    name = "clock of the broker"
    if abs(offset_ms) <= ALLOWED_MS + spread_ms:
        return Finding(name, "ok", f"within {max(abs(offset_ms), spread_ms):,} ms of ours; a write was acknowledged")
    which = "ahead of" if offset_ms > 0 else "behind"
    text = f"{abs(offset_ms) / 1000:,.0f} s {which} ours: one of the two is wrong; synchronise both (chrony, systemd-"
    return Finding(name, "failed", f"{text}timesyncd)")


def judge_newest(topic: str, newest: int | None, now_ms: int, future_ms: int) -> Finding:
    """Return what the time of the newest message in a topic of telemetry means."""
    name = f"clock of {topic}"
    if newest is None:
        return Finding(name, "note", "no message to tell the time by")
    if newest - now_ms <= ALLOWED_MS:
        return Finding(name, "ok", f"the newest message is {_span(max(now_ms - newest, 0))} old")
    text = f"the newest message is dated {_span(newest - now_ms)} ahead of us: its sender's clock, or ours, is wrong"
    if newest - now_ms > future_ms:
        return Finding(name, "failed", f"{text}; rows so far ahead may become dead letters (pipeline.future_s)")
    return Finding(name, "warning", f"{text}; synchronise them")


def newest_ms(config: KafkaConfig, topic: str, partitions: int) -> int | None:
    """Return the latest time that any message of a topic bears, or None when it is empty."""
    from confluent_kafka import KafkaException, TopicPartition
    from confluent_kafka.admin import OffsetSpec

    client = admin(config)
    asked: Mapping[TopicPartition, OffsetSpec] = {
        TopicPartition(topic, number): OffsetSpec.max_timestamp() for number in range(partitions)
    }
    try:
        found = [one.result().timestamp for one in client.list_offsets(asked, request_timeout=TIMEOUT_S).values()]
    except KafkaException:
        return None  # not allowed, or an old broker; rights are told elsewhere
    return max((one for one in found if one > 0), default=None)


def _broker(config: KafkaConfig, topic: str, clock: Clock) -> Finding:
    from confluent_kafka import KafkaException, Producer

    answers: list[tuple[str | None, tuple[int, int], int]] = []
    producer = Producer(config.client(acks="all", message_timeout_ms=int(TIMEOUT_S * 1000)))
    sent_ms = 0
    try:
        for _ in range(2):  # the first opens connections; the second takes only as long as it takes
            answers.clear()
            sent_ms = clock()
            producer.produce(
                topic,
                None,
                _KEY,
                0,
                on_delivery=lambda error, message: answers.append(
                    (error and error.str(), message.timestamp(), clock())
                ),
            )
            producer.flush(TIMEOUT_S)
    except KafkaException as error:
        return Finding("clock of the broker", "failed", f"{topic} cannot be written: {error.args[0].str()}")
    refusal, (kind, appended_ms), answered_ms = answers[0] if answers else ("no answer", (0, 0), 0)
    if refusal is not None:
        return Finding("clock of the broker", "failed", f"{topic} cannot be written: {refusal}")
    if kind != _APPENDED:
        return Finding("clock of the broker", "note", f"not seen: {topic} has message.timestamp.type = CreateTime")
    return judge_offset(appended_ms - (sent_ms + answered_ms) // 2, (answered_ms - sent_ms) // 2 + 1)


def _span(of_ms: int) -> str:
    for unit, length_ms in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if of_ms >= 2 * length_ms:
            return f"{of_ms / length_ms:,.0f} {unit}"
    return f"{of_ms / 1000:,.0f} s"
