"""A label that explodes costs its own metric, and nobody else."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from engine.cardinality import EVERYTHING, SeriesLimit, SeriesLimitConfig
from engine.messages import FEATURES
from engine.schemas import conform
from engine.types import Mark, Records
from engine.window import WindowConfig, WindowStep

HOUR_MS = 3_600_000
SMALL = SeriesLimitConfig(per_metric=3, in_all=5, forget_ms=6 * HOUR_MS)


def rows(told: Sequence[tuple[int, str, int]]) -> pl.DataFrame:
    """Return samples of (time, metric, series)."""
    return conform(
        "metrics",
        pl.DataFrame(
            {
                "ts_ms": [time for time, _, _ in told],
                "offset": range(len(told)),
                "entity": "x/service/-/a",
                "indicator": [f"{metric}{{n={series}}}" for _, metric, series in told],
                "instance": "",
                "form": "gauge",
                "value": 1.0,
                "identity": pl.Series([series for *_, series in told], dtype=pl.UInt64),
            }
        ),
    )


def admit(limit: SeriesLimit, *told: tuple[int, str, int]) -> list[bool]:
    frame = rows(told)
    mask, _ = limit.admit(frame, frame["ts_ms"].cum_max().to_numpy())
    return mask.tolist()


def test_the_first_come_stay_and_others_are_not_touched() -> None:
    limit = SeriesLimit(SMALL)
    assert admit(limit, *((0, "bomb", n) for n in range(1, 6))) == [True, True, True, False, False]
    assert admit(limit, (1, "bomb", 2), (1, "bomb", 9), (1, "calm", 20), (1, "bomb", 3)) == [True, False, True, True]
    assert len(limit) == 4


def test_dropped_rows_are_counted_by_metric() -> None:
    frame = rows([*((0, "bomb", n) for n in range(1, 9)), (0, "bomb", 8)])
    _, dropped = SeriesLimit(SMALL).admit(frame, np.zeros(9, np.int64))
    assert dropped == {"bomb": 6}


def test_metric_names_that_explode_are_bounded_too() -> None:
    frame = rows([(0, f"m{n}", n) for n in range(1, 9)])
    mask, dropped = SeriesLimit(SMALL).admit(frame, np.zeros(8, np.int64))
    assert mask.sum() == 5
    assert dropped == {EVERYTHING: 3}


def test_a_silent_series_makes_room() -> None:
    limit = SeriesLimit(SMALL)
    assert admit(limit, *((0, "pods", n) for n in (1, 2, 3))) == [True] * 3
    assert admit(limit, (3 * HOUR_MS, "pods", 1), (3 * HOUR_MS, "pods", 4)) == [True, False]
    assert admit(limit, (8 * HOUR_MS, "pods", 1), (8 * HOUR_MS, "pods", 5), (8 * HOUR_MS, "pods", 6)) == [True] * 3


def test_rows_without_identity_pass() -> None:
    assert admit(SeriesLimit(SMALL), *((0, "bomb", 0) for _ in range(9))) == [True] * 9


told = st.lists(
    st.tuples(st.integers(0, 20 * HOUR_MS), st.integers(1, 12)).map(lambda one: (one[0], "ab"[one[1] % 2], one[1])),
    min_size=1,
    max_size=40,
)


@given(told, st.lists(st.integers(0, 40), max_size=4))
def test_cuts_and_restarts_make_no_difference(told: list[tuple[int, str, int]], cuts: list[int]) -> None:
    frame = rows(told)
    closed = frame["ts_ms"].cum_max().to_numpy()
    whole, dropped = SeriesLimit(SMALL).admit(frame, closed)
    limit, parts, counted = SeriesLimit(SMALL), [], 0
    edges = sorted({0, frame.height, *(min(cut, frame.height) for cut in cuts)})
    for begin, end in pairwise(edges):
        limit = SeriesLimit(SMALL, limit.snapshot())
        mask, some = limit.admit(frame[begin:end], closed[begin:end])
        parts += mask.tolist()
        counted += sum(some.values())
    assert whole.tolist() == parts
    assert sum(dropped.values()) == counted == whole.tolist().count(False)


def test_the_window_says_which_metric_exploded() -> None:
    step = WindowStep(WindowConfig(1000, 0, shards=4, series=SMALL), "in", "metrics")
    messages = step.on_records(
        Records("metrics", rows([*((0, "bomb", n) for n in range(1, 9)), (0, "calm", 20)]), "in", 9)
    )
    messages += step.on_end()
    (partials,) = [one.payload for one in messages if one.stream == FEATURES and not isinstance(one.payload, Mark)]
    alarm = partials.filter(pl.col("indicator") == "event.LabelCardinality:bomb")
    assert alarm.select("entity", "n").rows() == [("x/source/-/in", 5)]
    assert step.counts == {"accepted": 4}
    assert step.dropped == {"label cardinality of bomb": 5}
    assert step.crowded == {"bomb": 5}
    assert (step.newly_crowded(), step.newly_crowded()) == (["bomb"], [])


def alarms(step: WindowStep, frame: pl.DataFrame) -> list[tuple[str, int]]:
    messages = step.on_records(Records("metrics", frame, "in", frame.height)) + step.on_end()
    found = [one.payload for one in messages if one.stream == FEATURES and isinstance(one.payload, pl.DataFrame)]
    told = pl.concat(found).filter(pl.col("indicator").str.starts_with("event.LabelCardinality:"))
    return sorted(told.select("indicator", "n").rows())


def test_names_that_explode_do_not_explode_in_the_alarm() -> None:
    step = WindowStep(WindowConfig(1000, 0, shards=4, series=SMALL), "in", "metrics")
    assert alarms(step, rows([(0, f"m{n}", n) for n in range(1, 500)])) == [
        (f"event.LabelCardinality:{EVERYTHING}", 494)
    ]


def test_a_window_of_which_every_row_was_refused_says_so_too() -> None:
    step = WindowStep(WindowConfig(1000, 0, shards=4, series=SMALL), "in", "metrics")
    told = [*((0, "bomb", n) for n in (1, 2, 3)), (2_000, "bomb", 4), (4_000, "bomb", 1)]
    assert alarms(step, rows(told)) == [("event.LabelCardinality:bomb", 1)]
    assert step.snapshot()["refused"] == {}
