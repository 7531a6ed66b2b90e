"""Are the topics as they should be? Ours by the plan, those of telemetry by what would lose rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.runners.kafka.config import SNAPSHOTS, KafkaConfig
from engine.runners.kafka.plan import Difference, TopicPlan, altering, creating, differences
from opsbrain.finding import Finding
from opsbrain.kafka_look import Look, Topic
from opsbrain.output import counted

_HOUR_MS: Final = 3_600_000
_FRAMING_BYTES: Final = 4_096  # of key and headers beside a body


def check_topics(config: KafkaConfig, seen: Look, body_bytes: int) -> Iterator[Finding]:
    """Yield a finding for each topic of telemetry, for our topics, and for each of ours that is not as it should be.

    `body_bytes` is the largest body that `opsbrain receive` would put into one message of telemetry.
    """
    for one in config.telemetry:
        yield from _telemetry(config, seen.topics[one.topic], seen.brokers, body_bytes)
    yield _ours(seen)
    for plan in seen.plans:
        if (topic := seen.topics[plan.name]).partitions:
            yield from _one_of_ours(config, plan, topic)


def _telemetry(config: KafkaConfig, topic: Topic, brokers: int, body_bytes: int) -> Iterator[Finding]:
    name = f"topic {topic.name}"
    if topic.hidden:
        yield Finding(name, "failed", "is not to be seen by this user; see the right to read telemetry below")
    elif not topic.partitions:
        copies = config.replication or min(3, brokers)
        plan = creating(TopicPlan(topic.name, config.partitions, copies, {}), config)
        yield Finding(name, "failed", f"is not there, and workers wait for it; have its shipper make it, or: {plan}")
    elif (broken := _broken(topic)) is not None:
        yield Finding(name, "failed", broken)
    else:
        # each of these by itself; the rows that are lost are the shippers'
        found = list(_doubts(topic, body_bytes)) or [("ok", f"{counted(topic.partitions, 'partition')}{_kept(topic)}")]
        yield from (Finding(name, outcome, text) for outcome, text in found)


def _doubts(topic: Topic, body_bytes: int) -> Iterator[tuple[str, str]]:
    settings = topic.settings or {}
    if "compact" in settings.get("cleanup.policy", ""):
        yield "warning", "is compacted: of messages with the same key only the last is kept; set cleanup.policy=delete"
    if 0 <= int(settings.get("retention.ms", "-1")) < _HOUR_MS:
        yield "warning", "keeps messages for less than an hour: a longer outage of all workers loses rows"
    most = int(settings.get("max.message.bytes", str(body_bytes + _FRAMING_BYTES)))
    if most < body_bytes + _FRAMING_BYTES:
        text = f"takes messages of {most:,} bytes: `opsbrain receive` answers 413 to larger bodies, whatever "
        yield "note", f"{text}http.max_body_mb says; raise max.message.bytes where it fills this topic"


def _ours(seen: Look) -> Finding:
    there = len(seen.plans) - len(seen.missing)
    if not seen.missing:
        copies = min(seen.topics[one.name].copies for one in seen.plans)
        what = f"{counted(copies, 'copy', 'copies')} of each message on {counted(seen.brokers, 'broker')}"
        return Finding("our topics", "ok", f"{counted(there, 'topic')}, {what}")
    if all(one.name in seen.creatable for one in seen.missing):
        return Finding("our topics", "note", f"{len(seen.missing)} are not there yet; the first worker makes them")
    if all(seen.topics[one.name].hidden for one in seen.missing):
        return Finding("our topics", "failed", "are not there, or not to be seen by this user; see the rights below")
    text = f"{len(seen.missing)} of {len(seen.plans)} are not there, and no worker may make them"
    return Finding("our topics", "failed", f"{text}; `opsbrain doctor --topics` prints the commands")


def _one_of_ours(config: KafkaConfig, plan: TopicPlan, topic: Topic) -> Iterator[Finding]:
    name = f"topic {plan.name}"
    if topic.partitions != plan.partitions:
        text = f"has {counted(topic.partitions, 'partition')}, settings say {plan.partitions}"
        yield Finding(name, "failed", f"{text}; set kafka.partitions back or use another kafka.topic_prefix")
    if (broken := _broken(topic)) is not None:
        yield Finding(name, "failed", broken)
    if topic.copies < plan.copies:
        text = f"has {counted(topic.copies, 'copy', 'copies')} of each message, settings say {plan.copies}"
        yield Finding(name, "warning", f"{text}; kafka-reassign-partitions.sh adds some (or set kafka.replication)")
    if topic.settings is None:
        yield Finding(name, "note", "its settings are not to be seen by this user (DescribeConfigs); nothing needs it")
        return
    found = list(differences(plan, topic.settings))
    if found:
        lost = plan.name == config.topic(SNAPSHOTS) and "compact" not in topic.settings.get("cleanup.policy", "")
        yield Finding(name, "failed" if lost else "warning", _differing(config, found, lost))


def _differing(config: KafkaConfig, found: list[Difference], lost: bool) -> str:
    said = ", ".join(f"{one.key} = {one.found} (settings say {one.wanted})" for one in found)
    return f"{'is not compacted, so state is deleted by age: ' if lost else ''}{said}: {next(altering(found, config))}"


def _broken(topic: Topic) -> str | None:
    if topic.leaderless:
        return f"{counted(topic.leaderless, 'partition')} without a leader: a broker is away that has the only copy"
    least = int((topic.settings or {}).get("min.insync.replicas", "1"))
    if topic.copies < least:
        return f"min.insync.replicas = {least}, and there are {topic.copies} copies: no write is ever taken; lower it"
    if topic.in_sync < least:
        text = f"{topic.in_sync} of {topic.copies} copies are in sync, and min.insync.replicas = {least}"
        return f"{text}: writes wait until another broker is back"
    return None


def _kept(topic: Topic) -> str:
    if topic.settings is None or (kept_ms := int(topic.settings.get("retention.ms", "-1"))) < 0:
        return ""
    return f", kept for {kept_ms / _HOUR_MS:g} h"
