"""A sender whose clock is wrong: its rows become dead letters, and nobody else's windows close."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from engine.skew import not_from_the_future
from engine.types import Records
from engine.window import WindowStep
from tests.engine.test_window import CONFIG, rows


def test_a_row_from_the_future_is_a_dead_letter_with_the_reason() -> None:
    frame = rows([1_000, 4_102_444_800_000, 2_000])
    kept, letters = not_from_the_future(frame, [0, 1, 2], [10_000, 10_000, 10_000], "in", 600_000)
    assert kept["offset"].to_list() == [0, 2]
    (letter,) = letters
    assert (letter.input, letter.offset) == ("in", 1)
    assert "check the sender's clock" in letter.reason


def test_what_is_not_known_is_not_judged() -> None:
    frame = rows([4_102_444_800_000])
    assert not_from_the_future(frame, [0], [0], "in", 600_000) == (frame, [])


def test_old_recordings_are_never_from_the_future() -> None:
    frame = rows([1_000, 2_000])
    kept, letters = not_from_the_future(frame, [0, 1], [10**12, 10**12], "in", 0)
    assert kept.height == 2 and letters == []


def test_a_clock_that_is_ahead_makes_nobody_else_late() -> None:
    step = WindowStep(CONFIG, "in", "metrics")
    for time_ms, came_ms in [(100_000, 100_000), (400_000, 100_200), (100_300, 100_400), (101_900, 102_000)]:
        frame, letters = not_from_the_future(rows([time_ms]), [0], [came_ms], "in", 600_000)
        assert not letters
        step.on_records(Records("metrics", frame, "in", 1))
    assert step.counts == {"accepted": 4}
    assert step.latest_ms == 101_900


@given(st.lists(st.tuples(st.integers(0, 9_000), st.integers(1, 9_000)), min_size=1, max_size=40), st.integers(0, 40))
def test_cuts_make_no_difference_to_clocks(told: list[tuple[int, int]], cut: int) -> None:
    frame = rows([time for time, _ in told])
    came = [one for _, one in told]
    whole, parts = WindowStep(CONFIG, "in", "metrics"), WindowStep(CONFIG, "in", "metrics")
    offsets = list(range(len(told)))
    judged, _ = not_from_the_future(frame, offsets, came, "in", 10_000)
    whole.on_records(Records("metrics", judged, "in", len(told)))
    for begin, end in pairwise(sorted({0, min(cut, len(told)), len(told)})):
        part, _ = not_from_the_future(frame[begin:end], offsets[begin:end], came[begin:end], "in", 10_000)
        parts.on_records(Records("metrics", part, "in", end))
    assert whole.counts == parts.counts
    assert whole.latest_ms == parts.latest_ms
