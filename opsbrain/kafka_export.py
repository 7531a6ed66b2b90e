"""What workers on Kafka have concluded, read back from the topics: each thing once, by its identity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.errors import SourceError
from engine.messages import ANOMALIES, CHANGES, DEADLETTERS, FIXES, INCIDENTS, LATE
from engine.runners.embedded import Accounts
from engine.runners.kafka.codec import decode
from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.reader import TopicReader
from engine.runners.kafka.topics import reach
from engine.types import Mark
from opsbrain.collect import Collected
from opsbrain.replaying import Conclusions

CONCLUSIONS = (ANOMALIES, INCIDENTS, FIXES, LATE, DEADLETTERS)


def conclusions(config: KafkaConfig, resolution_ms: int) -> Conclusions:
    """Return what the topics hold from their beginning to their end at this moment, and where every row went.

    Raises Retryable when no broker answers, SourceError when no worker has ever run there.
    """
    present = reach(config)
    missing = [topic for stream in (*CONCLUSIONS, CHANGES) if (topic := config.topic(stream)) not in present]
    if missing:
        raise SourceError(
            f"kafka: {config.bootstrap} has no topic {missing[0]}; has `opsbrain worker` run there, with this "
            "kafka.topic_prefix?"
        )
    reader = TopicReader(config, config.group("export"))
    try:
        collected, rows = _read(config, reader, present)
    finally:
        reader.close()
    return Conclusions(
        anomalies=tuple(collected.anomalies()),
        incidents=tuple(collected.incidents.values()),
        fixes=tuple(collected.fixes.values()),
        dead_letters=tuple(collected.dead_letters.values()),
        accounts=Accounts(
            rows, sum(collected.late.values()), dead_lettered=sum(one.rows for one in collected.dead_letters.values())
        ),
        history=None,
        resolution_ms=resolution_ms,
        elapsed_s=0.0,
    )


def _read(config: KafkaConfig, reader: TopicReader, present: Mapping[str, int]) -> tuple[Collected, int]:
    """Return what was concluded, and how many rows went into windows."""
    streams = {config.topic(stream): stream for stream in (*CONCLUSIONS, CHANGES)}
    collected = Collected()
    marks: list[Mark] = []
    # decoders' marks are on three topics and on every partition of them: one partition of the smallest topic tells all
    wanted = [
        (topic, n) for topic, stream in streams.items() for n in range(present[topic] if stream != CHANGES else 1)
    ]
    for one in reader.whole(wanted):
        stream = streams[one.topic()]
        headers = dict(one.headers() or ())
        if stream != CHANGES or headers.get("type") == b"mark":
            message = decode(stream, one.key(), one.value(), headers)
            if isinstance(message.payload, Mark):
                marks.append(message.payload)
            else:
                collected(message)
    return collected, _accepted(marks)


def _accepted(marks: Iterable[Mark]) -> int:
    """Return how many rows the decoders' marks speak of; each input and window once, however often it was said."""
    rows = {
        (producer, start, kind): coverage.rows
        for mark in marks
        for producer in mark.producers
        for start, kinds in mark.windows.items()
        for kind, coverage in kinds.items()
    }
    return sum(rows.values())
