"""Telemetry is left in the broker while memory is short or the steps are behind, and taken up again."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.runners.kafka.bounds import bounds_of
from engine.runners.kafka.brake import MOST_BEHIND, MOST_BEHIND_ELSEWHERE, Brake, resident_bytes
from engine.runners.meters import MEMORY_LIMIT, PAUSED, Meters

LIMIT = 1_000 << 20


@dataclass
class Machine:
    """A process with a clock, and what waits for it."""

    used: float = 0.5
    now_s: float = 100.0
    backlog: tuple[int, int, int] = (0, 0, 0)
    meters: Meters = field(default_factory=Meters)

    def __post_init__(self) -> None:
        self.brake = Brake(LIMIT, lambda: self.backlog, self.meters, lambda: int(self.used * LIMIT), lambda: self.now_s)

    def holds(self, after_s: float = 1.0) -> bool:
        self.now_s += after_s
        return self.brake.holds()


def test_above_four_fifths_it_holds_and_below_seven_tenths_it_reads(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    with caplog.at_level(logging.WARNING):
        said = []
        for machine.used in (0.5, 0.79, 0.81, 0.75, 0.71, 0.69, 0.79, 0.6):
            said.append(machine.holds())
    assert said == [False, False, True, True, True, False, False, False]
    assert [one.getMessage() for one in caplog.records] == [
        "memory: 810 of 1000 MB (worker.memory_limit_mb) are in use; reading pauses until what was read is worked off",
        "memory: 690 of 1000 MB (worker.memory_limit_mb) are in use; reading goes on",
    ]


def test_it_tells_its_ceiling_and_whether_it_holds() -> None:
    machine = Machine(used=0.9)
    assert machine.holds()
    assert machine.meters.value(MEMORY_LIMIT, 0) == LIMIT
    assert machine.meters.value(PAUSED, 0) == 1
    machine.used = 0.1
    assert not machine.holds()
    assert machine.meters.value(PAUSED, 1) == 0


def test_memory_that_is_state_lets_a_little_through_up_to_the_ceiling() -> None:
    machine = Machine(used=0.9)
    said = [machine.holds(0.5) for _ in range(20)]
    assert all(said[:10])
    assert said[10:].count(False) in (4, 5)  # one a second
    machine.used = 1.0
    assert all(machine.holds(0.5) for _ in range(10))


def test_while_what_was_read_is_worked_on_nothing_more_is_read() -> None:
    machine = Machine(used=0.9, backlog=(1, 0, 0))
    assert all(machine.holds(0.5) for _ in range(30))


@pytest.mark.parametrize(
    "backlog",
    [
        (MOST_BEHIND + 1, 0, 0),
        (0, bounds_of(LIMIT).backlog_bytes + 1, 0),
        (0, 0, MOST_BEHIND_ELSEWHERE + 1),
    ],
)
def test_steps_that_are_behind_hold_the_decoder_until_they_have_come_a_good_way(backlog: tuple[int, int, int]) -> None:
    machine = Machine()
    assert not machine.holds()
    machine.backlog = backlog
    assert machine.holds()
    machine.backlog = tuple(int(one * 0.6) for one in backlog)  # type: ignore[assignment]
    assert machine.holds()
    machine.backlog = tuple(int(one * 0.4) for one in backlog)  # type: ignore[assignment]
    assert not machine.holds()


def test_a_system_that_does_not_tell_memory_has_no_ceiling() -> None:
    machine = Machine(used=0.0)
    assert not machine.holds()
    assert resident_bytes() >= 0


@given(st.integers(min_value=256, max_value=1_000_000))
def test_what_waits_in_queues_is_a_part_of_the_ceiling_only(limit_mb: int) -> None:
    limit = limit_mb << 20
    bounds = bounds_of(limit)
    queues = bounds.prefetch_bytes + bounds.batch_bytes + 2 * bounds.outgoing_bytes + 4 * bounds.buffered_bytes
    assert queues <= limit * 0.35
    assert bounds.fetch_bytes <= bounds.prefetch_bytes
    assert bounds.outgoing_bytes > 20_000_000  # the largest message fits
