"""History in memory: bounded by windows and rows, and asked for by series."""

from __future__ import annotations

import polars as pl

from engine.messages import HISTORY, Message
from opsbrain.recent import Recent

MINUTE_MS = 60_000


def history(minute: int, series: int = 2, resolution_ms: int = MINUTE_MS) -> Message:
    start = minute * resolution_ms
    frame = pl.DataFrame(
        {
            "entity": ["x/service/-/a"] * series,
            "indicator": [f"m{number}" for number in range(series)],
            "form": ["gauge"] * series,
            "resolution_ms": [resolution_ms] * series,
            "start_ms": [start] * series,
            "end_ms": [start + resolution_ms] * series,
            "value": [float(minute)] * series,
            "expected_lo": [0.0] * series,
            "expected_hi": [9.0] * series,
        }
    )
    return Message(HISTORY, f"x/{resolution_ms}/{start}/0", frame, "x")


def kept(recent: Recent) -> list[float]:
    found = recent.series({("x/service/-/a", "m0")})
    return found["x/service/-/a", "m0"].value.tolist() if found else []


def test_the_last_windows_are_kept_of_each_resolution():
    recent = Recent(windows=3)
    assert kept(recent) == [] and recent.span() == (0, 0)
    recent(history(0, resolution_ms=86_400_000))
    for minute in range(10, 20):
        recent(history(minute))
    assert kept(recent) == [0.0, 17.0, 18.0, 19.0]
    assert recent.span() == (17 * MINUTE_MS, 20 * MINUTE_MS)


def test_many_series_reach_back_less_far():
    recent = Recent(windows=100, max_rows=10)
    for minute in range(20):
        recent(history(minute, series=4))
    assert kept(recent) == [18.0, 19.0]
