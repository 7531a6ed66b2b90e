"""Roles begin anew for reasons that pass, and end for others; a worker waits for its broker until it is to stop."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass, field

import pytest
from confluent_kafka import KafkaError

from engine.errors import Retryable, SourceError
from engine.runners.kafka.supervise import Lives, supervise, supervise_async
from engine.runners.kafka.waiting import GRACE_S, AtMost, Interrupted, Stopping, passes, raised
from engine.runners.kafka.worker import END_S, _end_in_time


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        self.now_s += 0.05
        return self.now_s


@dataclass
class Roles:
    """A role that fails as it is told, and ends the worker when there is nothing left to do."""

    stopping: Stopping
    fails: list[Exception]
    lives: int = 0
    asked: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        self.lives += 1
        if self.fails:
            raise self.fails.pop(0)
        self.stopping.ask()


def test_a_role_begins_anew_and_says_each_reason_once(caplog: pytest.LogCaptureFixture) -> None:
    away, other = Retryable("kafka: away", 0.01), Retryable("kafka: other", 0.01)
    stopping = Stopping()
    role = Roles(stopping, [away, away, away, other])
    with caplog.at_level(logging.WARNING):
        supervise("decode", role.run, stopping)
    assert role.lives == 5
    assert [one.getMessage() for one in caplog.records] == [
        "decode: kafka: away; it begins anew",
        "decode: kafka: other; it begins anew",
    ]


def test_so_does_one_in_the_loop() -> None:
    stopping = Stopping()
    role = Roles(stopping, [Retryable("kafka: away", 0.01)])

    async def run() -> None:
        role.run()

    asyncio.run(supervise_async("steps", run, stopping))
    assert role.lives == 2


def test_what_does_not_pass_ends_it() -> None:
    stopping = Stopping()
    with pytest.raises(SourceError):
        supervise("decode", Roles(stopping, [SourceError("kafka: no right to read")]).run, stopping)


def test_interrupted_by_the_end_it_ends() -> None:
    stopping = Stopping()
    role = Roles(stopping, [Interrupted("kafka: away")])
    supervise("decode", role.run, stopping)
    assert role.lives == 1


def test_pauses_grow_and_begin_anew_after_a_good_while() -> None:
    clock = Clock()
    lives = Lives("decode", clock)
    pauses = []
    for _ in range(8):
        lives.begins()
        pauses.append(lives.failed(Retryable("x", 1.0)))
    assert pauses == [1, 2, 4, 8, 15, 15, 15, 15]
    lives.begins()
    clock.now_s += 100
    assert lives.failed(Retryable("x", 1.0)) == 1


def test_a_worker_waits_without_end_until_it_is_asked_to_stop() -> None:
    clock, asked = Clock(), threading.Event()
    stopping = Stopping(asked, clock)
    clock.now_s = 1_000_000.0
    stopping.go_on(0.0, "cannot produce")
    asked.set()
    stopping.go_on(0.0, "cannot produce")  # what is under way has a moment
    clock.now_s += GRACE_S
    with pytest.raises(Interrupted):
        stopping.go_on(0.0, "cannot produce")


def test_a_command_gives_up_after_a_while() -> None:
    AtMost(1e9).go_on(0.0, "x/0 cannot be read")
    with pytest.raises(SourceError, match=r"kafka: x/0 cannot be read: no answer in 0 s"):
        AtMost(0.0).go_on(0.0, "x/0 cannot be read")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError._ALL_BROKERS_DOWN, Retryable),
        (KafkaError.NOT_COORDINATOR, Retryable),
        (KafkaError.FENCED_LEADER_EPOCH, Retryable),
        (KafkaError._FATAL, Retryable),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, SourceError),
        (KafkaError.MSG_SIZE_TOO_LARGE, SourceError),
    ],
)
def test_errors_of_the_broker_pass_or_do_not(code: int, kind: type[Exception]) -> None:
    assert type(raised(KafkaError(code), "cannot produce")) is kind


def test_the_end_of_a_partition_is_no_error_that_passes() -> None:
    assert not passes(KafkaError(KafkaError._PARTITION_EOF))


@pytest.mark.parametrize("by_us", [True, False])
def test_what_does_not_end_is_left_behind_in_time(by_us: bool) -> None:
    clock, asked = Clock(), threading.Event()
    stopping, statuses = Stopping(asked, clock), []
    stopping.ask() if by_us else asked.set()
    assert stopping()
    clock.now_s += END_S
    _end_in_time(stopping, threading.Event(), statuses.append)
    assert statuses == [1 if by_us else 0]


def test_what_has_ended_is_not_ended_again() -> None:
    ended, statuses = threading.Event(), []
    ended.set()
    _end_in_time(Stopping(), ended, statuses.append)
    assert statuses == []
