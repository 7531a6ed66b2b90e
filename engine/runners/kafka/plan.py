"""What our topics should be: partitions, copies and settings of each, in words and as commands of Kafka's own tools.

What travels between steps must outlive the oldest snapshot, since state is made again from what lies after it: all
workers may be away for `retention_hours.steps`. Time of retention counts from the moment the broker took a message, so
that no wrong clock of a worker lets messages go early.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from engine import messages as streams
from engine.runners.kafka.config import LARGEST_MESSAGE_BYTES, OUR_STREAMS, SNAPSHOTS, KafkaConfig

_HOUR_MS: Final = 3_600_000
_WEEK_MS: Final = 168 * _HOUR_MS
_CONCLUSIONS: Final = (streams.ANOMALIES, streams.INCIDENTS, streams.FIXES)
_REFUSED: Final = (streams.LATE, streams.DEADLETTERS)
_MOST_COPIES: Final = 3  # one may be down for maintenance while another one fails
_COMMON: Final = {
    "max.message.bytes": str(LARGEST_MESSAGE_BYTES),
    "compression.type": "producer",  # ours pack what is large; the broker need not pack it anew
    "message.timestamp.type": "LogAppendTime",
}
# Small segments and an eager cleaner: only closed segments are compacted, so the topic holds the newest snapshots, ten
# minutes of those before them, and one open segment. Tombstones need not outlast a read of the topic, which takes less.
_SNAPSHOTS: Final = {
    "cleanup.policy": "compact",
    "segment.bytes": "16777216",
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": "600000",
    "delete.retention.ms": "600000",
}


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """One topic as it should be."""

    name: str
    partitions: int
    copies: int
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting of a topic that is another one than settings say."""

    topic: str
    key: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.topic} has {self.key} = {self.found}, settings say {self.wanted}"


def plan_of(config: KafkaConfig, brokers: int) -> tuple[TopicPlan, ...]:
    """Return our topics as they should be on that many brokers."""
    copies = config.replication or min(_MOST_COPIES, max(brokers, 1))
    # with two copies, both in sync would be asked for: then one broker away stops every write
    in_sync = {"min.insync.replicas": "2" if copies > 2 else "1"}
    return tuple(
        TopicPlan(config.topic(stream), config.partitions, copies, {**_settings_of(config, stream), **in_sync})
        for stream in (*OUR_STREAMS, SNAPSHOTS)
    )


def _settings_of(config: KafkaConfig, stream: str) -> dict[str, str]:
    if stream == SNAPSHOTS:
        return {**_COMMON, **_SNAPSHOTS}
    hours = config.retention_hours
    kept = hours.conclusions if stream in _CONCLUSIONS else hours.refused if stream in _REFUSED else hours.steps
    return {
        **_COMMON,
        "cleanup.policy": "delete",
        "retention.ms": str(kept * _HOUR_MS),
        "retention.bytes": "-1",
        # only whole segments are deleted: in a quiet topic one must not stay open for longer than it is kept
        "segment.ms": str(min(max(kept * _HOUR_MS // 4, _HOUR_MS), _WEEK_MS)),
    }


def differences(plan: TopicPlan, found: Mapping[str, str]) -> Iterator[Difference]:
    """Yield what differs in a topic that is there; settings that the broker does not tell are passed over."""
    for key, wanted in sorted(plan.settings.items()):
        if (there := found.get(key, wanted)) != wanted:
            yield Difference(plan.name, key, there, wanted)


def creating(plan: TopicPlan, config: KafkaConfig) -> str:
    """Return the command that makes the topic; whoever runs it gives their own right to do so in `admin.properties`."""
    return _command(
        "kafka-topics",
        config,
        f"--create --if-not-exists --topic {shlex.quote(plan.name)} --partitions {plan.partitions}",
        f"--replication-factor {plan.copies}",
        *(f"--config {key}={value}" for key, value in sorted(plan.settings.items())),
    )


def altering(found: Iterable[Difference], config: KafkaConfig) -> Iterator[str]:
    """Yield the commands, one for each topic, that make topics what settings say."""
    by_topic: dict[str, list[Difference]] = {}
    for one in found:
        by_topic.setdefault(one.topic, []).append(one)
    for topic, group in by_topic.items():
        settings = ",".join(f"{one.key}={one.wanted}" for one in group)
        yield _command("kafka-configs", config, f"--alter --topic {shlex.quote(topic)} --add-config {settings}")


def _command(tool: str, config: KafkaConfig, *arguments: str) -> str:
    # a plain broker asks nobody who they are
    plain = config.security.get("security.protocol", "plaintext").lower() == "plaintext"
    who = () if plain else ("--command-config admin.properties",)
    return " ".join((f"{tool}.sh --bootstrap-server {shlex.quote(config.bootstrap)}", *who, *arguments))
