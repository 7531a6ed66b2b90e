"""What workers on Kafka have concluded, read back from the topics: each thing once, by its identity."""

from __future__ import annotations

from engine.errors import SourceError
from engine.messages import ANOMALIES, CHANGES, DEADLETTERS, FIXES, INCIDENTS, LATE
from engine.runners.embedded import Accounts
from engine.runners.kafka.codec import decode
from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.snapshots import TopicReader
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
        collected = Collected()
        for stream in CONCLUSIONS:
            topic = config.topic(stream)
            for partition in range(present[topic]):
                for one in reader.read(topic, partition):
                    message = decode(stream, one.key(), one.value(), dict(one.headers() or ()))
                    if not isinstance(message.payload, Mark):
                        collected(message)
        accepted = _accepted(config, reader)
    finally:
        reader.close()
    return Conclusions(
        anomalies=tuple(collected.anomalies()),
        incidents=tuple(collected.incidents.values()),
        fixes=tuple(collected.fixes.values()),
        dead_letters=tuple(collected.dead_letters.values()),
        accounts=Accounts(accepted, sum(collected.late.values()), dead_lettered=len(collected.dead_letters)),
        history=None,
        resolution_ms=resolution_ms,
        elapsed_s=0.0,
    )


def _accepted(config: KafkaConfig, reader: TopicReader) -> int:
    """Return how many rows went into windows, as the decoders' marks say; each input and window once.

    The marks are on three topics and on every partition of them: one partition of the smallest topic tells all.
    """
    rows: dict[tuple[str, int, str], int] = {}
    for one in reader.read(config.topic(CHANGES), 0):
        headers = dict(one.headers() or ())
        if headers.get("type") == b"mark":
            mark = decode(CHANGES, one.key(), one.value(), headers).payload
            if isinstance(mark, Mark):
                for start, kinds in mark.windows.items():
                    for kind, coverage in kinds.items():
                        rows[mark.producers[0], start, kind] = coverage.rows
    return sum(rows.values())
