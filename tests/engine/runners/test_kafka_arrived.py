"""What `consume` returned, taken apart: by partition, and as columns where messages are bodies and nothing else."""

from __future__ import annotations

from typing import Any

import confluent_kafka
import pytest

from engine.runners.kafka.arrived import by_partition, plain


class Message:
    """What a message of librdkafka answers."""

    def __init__(self, topic: str | None, partition: int, offset: int, **more: Any) -> None:
        self._topic, self._partition, self._offset = topic, partition, offset
        self._more = {"value": b"x", "error": None, "headers": None, "timestamp": (1, 7)} | more

    def topic(self) -> str | None:
        return self._topic

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def value(self) -> Any:
        return self._more["value"]

    def error(self) -> Any:
        return self._more["error"]

    def headers(self) -> Any:
        return self._more["headers"]

    def timestamp(self) -> Any:
        return self._more["timestamp"]


class Refuses:
    """An error that cannot be compared with anything, as KafkaError."""

    def __eq__(self, other: object) -> bool:
        raise SystemError("compared")

    __hash__ = None  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def _no_librdkafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confluent_kafka, "Message", Message)


def test_messages_go_to_their_partitions_in_their_order() -> None:
    sent = [("a", 0, 5), ("a", 0, 6), ("b", 0, 1), ("a", 1, 9), ("b", 0, 2), ("a", 0, 7)]
    found = by_partition([Message(*one) for one in sent])  # type: ignore[misc]
    offsets = {key: [one.offset() for one in messages] for key, messages in found.items()}
    assert offsets == {("a", 0): [5, 6, 7], ("b", 0): [1, 2], ("a", 1): [9]}


def test_what_has_no_topic_is_left_out() -> None:
    found = by_partition([Message(None, -1, -1), Message("a", 3, 1), Message(None, -1, -1)])  # type: ignore[list-item]
    assert list(found) == [("a", 3)]
    assert by_partition([]) == {}


def test_plain_messages_become_columns() -> None:
    columns = plain([Message("a", 0, 5, timestamp=(0, -1)), Message("a", 0, 6, value=None)])  # type: ignore[list-item]
    assert columns is not None
    assert (columns.offsets, columns.bodies, columns.received_ms) == (range(5, 7), [b"x", b""], [-1, 7])


def test_offsets_with_gaps_are_listed() -> None:
    columns = plain([Message("a", 0, 5), Message("a", 0, 9)])  # type: ignore[list-item]
    assert columns is not None
    assert columns.offsets == [5, 9]


@pytest.mark.parametrize("more", [{"error": Refuses()}, {"headers": [("opsbrain-mark", b"end")]}])
def test_a_special_message_makes_none_of_them_plain(more: dict[str, Any]) -> None:
    assert plain([Message("a", 0, 5), Message("a", 0, 6, **more)]) is None  # type: ignore[list-item]
