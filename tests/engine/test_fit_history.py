"""What fits look back on comes out as it went in, in order, and is forgotten in time."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from engine.fit_history import FitHistory
from engine.state_codec import decode_state, encode_state

WINDOW = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["cpu", "mem"]), st.just("gauge"), st.floats(0, 1)),
    min_size=1,
    unique_by=lambda row: row[:3],
)
NAMES = ["entity", "indicator", "form", "value"]


def window(start: int, rows: list) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=NAMES, orient="row")
    return frame.select(pl.lit(start, pl.Int64).alias("start_ms"), *NAMES, window_ms=pl.lit(start, pl.Int64))


@given(st.lists(WINDOW, max_size=8), st.permutations(range(8)), st.integers(0, 8), st.integers(0, 8))
def test_it_is_the_sorted_windows(windows, order, forgotten, until):
    history = FitHistory()
    frames = [window(start, rows) for start, rows in enumerate(windows)]
    for at in (at for at in order if at < len(frames)):
        history.add(f"k{at}", frames[at])
    history.add("k0", frames[0]) if frames else None  # sent again after a restart
    history.forget_before(forgotten)
    history = FitHistory(decode_state(encode_state({"version": 1, **history.snapshot()})))
    kept = [frame.drop("window_ms") for frame in frames[forgotten:until]]
    expected = pl.concat(kept or [window(0, []).drop("window_ms").cast({"value": pl.Float64})], how="vertical_relaxed")
    got = history.until(until)
    assert got.columns == ["start_ms", *NAMES]
    assert got.rows() == expected.sort("entity", "indicator", "start_ms").rows()


def test_names_of_what_is_gone_go():
    history = FitHistory()
    for start in range(10):
        history.add(str(start), window(start, [(f"pod-{start}", "cpu", "gauge", 0.5), ("a", "cpu", "gauge", 1.0)]))
    history.forget_before(9)
    assert sorted(history.snapshot()["names"]["entity"]) == ["a", "pod-9"]
    assert history.until(10)["value"].to_list() == [1.0, 0.5]


def test_what_became_known_later_replaces_what_was_known_and_not_before() -> None:
    history = FitHistory()
    row = ("a", "cost.usd", "money")
    told = window(10, [(*row, 5.0)])
    history.add("10/10", told)
    history.add("12/11", window(11, [(*row, 6.0)]).with_columns(window_ms=pl.lit(12, pl.Int64)))
    history.add("12/10", window(10, [(*row, 7.0)]).with_columns(window_ms=pl.lit(12, pl.Int64)))
    assert history.until(12)["value"].to_list() == [5.0]
    history = FitHistory(decode_state(encode_state({"version": 1, **history.snapshot()})))
    assert history.until(13).select("start_ms", "value").rows() == [(10, 7.0), (11, 6.0)]


@given(st.lists(st.tuples(st.integers(0, 3), WINDOW), max_size=8), st.integers(0, 9), st.integers(0, 9))
def test_settling_forgets_what_was_replaced_and_changes_nothing_else(told, settled, until):
    def filled() -> FitHistory:
        history = FitHistory()
        for known, (start, rows) in enumerate(told, 4):
            frame = window(start, rows).with_columns(window_ms=pl.lit(known, pl.Int64))
            history.add(f"x/{known}/{start}", frame)
        return history

    plain, kept = filled(), filled()
    kept.settle(settled)
    kept.settle(settled)
    assert kept.until(max(until, settled)).equals(plain.until(max(until, settled)))
    kept.settle(100)
    assert len(kept.snapshot()["windows"]) == len({start for start, _ in told})
