"""A sender whose clock is wrong: its rows become dead letters, and nobody else's windows close."""

from __future__ import annotations

from engine.skew import not_from_the_future
from tests.engine.test_window import rows


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
