"""Takes what `consume` returned apart: messages of one partition as columns, without touching a message twice.

Most messages are a body and nothing else. A column of each thing that could make one special is made with one call a
message, and looked at as a whole; only where something is special are messages looked at one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from confluent_kafka import Message

_PARTITION: Final = 0xFFFFFFFF
_time = itemgetter(1)


@dataclass(frozen=True, slots=True)
class Plain:
    """Messages that are bodies and nothing else, aligned; `received_ms` is 0 or less where a message has no time."""

    offsets: Sequence[int]
    bodies: list[bytes]
    received_ms: list[int]


def by_partition(messages: Sequence[Message]) -> dict[tuple[str, int], list[Message]]:
    """Return messages by topic and partition, in their order; those that have no topic are left out."""
    import confluent_kafka as kafka

    topics = list(map(kafka.Message.topic, messages))
    places = np.fromiter(map(kafka.Message.partition, messages), np.int64, len(messages))
    if len(topics) > topics.count(topics[0] if topics else None):
        codes = {topic: code << 32 for code, topic in enumerate(dict.fromkeys(topics))}
        places += np.fromiter(map(codes.__getitem__, topics), np.int64, len(topics))
    edges = [0, *(np.flatnonzero(np.diff(places)) + 1).tolist(), len(messages)] if topics else []
    found: dict[tuple[str, int], list[Message]] = {}
    for start, end in pairwise(edges):
        if (topic := topics[start]) is not None:
            found.setdefault((topic, int(places[start]) & _PARTITION), []).extend(messages[start:end])
    return found


def plain(messages: Sequence[Message]) -> Plain | None:
    """Return the messages of one partition as columns, None when one of them is an error, a mark or a request."""
    import confluent_kafka as kafka

    many = len(messages)
    if any(map(kafka.Message.error, messages)):  # `count` fails: a KafkaError refuses to be compared with None
        return None
    if list(map(kafka.Message.headers, messages)).count(None) < many:
        return None
    bodies = list(map(kafka.Message.value, messages))
    if bodies.count(None):
        bodies = [body or b"" for body in bodies]
    return Plain(_offsets(messages), bodies, list(map(_time, map(kafka.Message.timestamp, messages))))


def _offsets(messages: Sequence[Message]) -> Sequence[int]:
    first, last = int(messages[0].offset() or 0), int(messages[-1].offset() or 0)
    if last - first == len(messages) - 1:
        return range(first, last + 1)  # they rise, so there is none between
    return [int(message.offset() or 0) for message in messages]
