"""The z-score: what stands still is no signal by standing still."""

from __future__ import annotations

import numpy as np

from detectors.zscore import ZScore
from engine.types import Series, SeriesIndex, Tick


def test_one_thread_more_is_no_news_and_fifty_are() -> None:
    detector = ZScore().build(0)
    index = SeriesIndex([Series("x/service/-/a", "threads")])
    for window in range(40):
        detector.learn(_threads(index, window, 3.0))
    few, many = (detector.score(_threads(index, 40, value)).tail_p[0] for value in (3.5, 53.0))
    assert few > 1e-2
    assert many < 1e-6


def test_the_last_one_going_down_is_news() -> None:
    detector = ZScore().build(0)
    index = SeriesIndex([Series("x/service/-/a", "up")])
    for window in range(40):
        detector.learn(_threads(index, window, 1.0))
    assert detector.score(_threads(index, 40, 0.0)).tail_p[0] < 1e-5


def _threads(index: SeriesIndex, window: int, value: float) -> Tick:
    start = window * 60_000
    numbers, values = np.zeros(1, np.int64), np.array([value])
    return Tick(0, 60_000, start, start + 60_000, index, numbers, values, np.zeros(1, np.int64))
