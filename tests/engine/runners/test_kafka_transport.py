"""What we changed of Faust: queues with a bound in bytes, commits that fail quietly, no folder on disk."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka.errors import CommitFailedError, GroupAuthorizationFailedError, KafkaConnectionError
from faust.types import TP
from mode.utils.queues import FlowControlEvent

from engine.runners.kafka import transport
from engine.runners.kafka.queues import queue_class
from engine.runners.kafka.transport import committed


@dataclass
class Event:
    message: Any


@dataclass
class Body:
    value: bytes | None


def event(size: int) -> Event:
    return Event(Body(b"x" * size))


async def filled(sizes: list[int], limit_bytes: int, maxsize: int = 512) -> tuple[Any, list[str]]:
    queue = queue_class()(maxsize=maxsize, flow_control=FlowControlEvent())
    queue.limit_bytes = limit_bytes
    said: list[str] = []
    on_high, on_drop = lambda: said.append("high"), lambda: said.append("drop")
    for size in sizes:
        queue.put_nowait_enhanced(event(size), on_pressure_high=on_high, on_pressure_drop=on_drop)
    return queue, said


def test_large_messages_raise_pressure_before_there_are_many() -> None:
    async def run() -> None:
        queue, said = await filled([100] * 8 + [100], limit_bytes=1_000)
        assert said == ["high"]
        assert not queue.full()  # it never blocks whoever delivers to the other steps
        while queue.qsize():
            queue.get_nowait()
        assert said == ["high", "drop"]
        assert queue.waiting_bytes == 0

    asyncio.run(run())


def test_many_small_messages_raise_pressure_too() -> None:
    async def run() -> None:
        _, said = await filled([1] * 9, limit_bytes=1_000, maxsize=10)
        assert said == ["high"]

    asyncio.run(run())


def test_what_a_rebalance_throws_away_counts_no_more() -> None:
    async def run() -> None:
        queue, _ = await filled([100] * 3, limit_bytes=1_000)
        queue.clear()
        assert (queue.qsize(), queue.waiting_bytes) == (0, 0)

    asyncio.run(run())


class Member:
    """A member of a group that answers commits as it is told."""

    def __init__(self, answer: Exception | None, after_s: float = 0.0) -> None:
        self._answer, self._after_s = answer, after_s
        self.took: dict[Any, Any] = {}

    async def commit(self, offsets: dict[Any, Any]) -> None:
        await asyncio.sleep(self._after_s)
        if self._answer is not None:
            raise self._answer
        self.took |= offsets


@pytest.mark.parametrize(
    ("answer", "taken"),
    [
        (None, True),
        (CommitFailedError("the group has already rebalanced"), False),
        (KafkaConnectionError(), False),
        (GroupAuthorizationFailedError("steps"), False),
    ],
)
def test_a_commit_that_fails_ends_nothing(answer: Exception | None, taken: bool) -> None:
    assert asyncio.run(committed(Member(answer), {TP("x", 1): 5})) is taken


def test_a_commit_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "COMMIT_S", 0.01)
    assert asyncio.run(committed(Member(None, after_s=5.0), {TP("x", 1): 5})) is False


def test_faust_makes_no_folder() -> None:
    app = transport.diskless_app("x", broker="kafka://127.0.0.1:1", datadir="/nowhere/at/all", store="memory://")
    app._create_directories()
