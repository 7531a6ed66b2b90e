"""A history as one matrix of series by windows, on the scales of their forms: what forests and forecasters train on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.types import Bools, Floats, History, Series
from models import scales

_NAME = ["entity", "indicator", "form"]
_NORMAL_PER_MEDIAN = 1.4826  # standard deviation over median absolute deviation, for a normal
_NORMAL_NINE_TENTHS = 3.29  # width of a normal's middle nine tenths, in standard deviations


@dataclass(frozen=True, slots=True)
class Panel:
    """Series by windows.

    series      (S), sorted by entity, indicator and form
    forms       (S,) codes of `models.scales`
    start_ms    start of the first window; window w starts at `start_ms + w * resolution_ms`
    scaled      (S, W) values on their forms' scales; NaN where there was none
    """

    series: tuple[Series, ...]
    forms: scales.Codes
    start_ms: int
    resolution_ms: int
    scaled: Floats


def panel(history: History, keep: pl.Expr, min_windows: int) -> Panel:
    """Return the series of `history` that satisfy `keep` and have a number in at least `min_windows` windows."""
    frame = _in_order(history.frame)
    wanted = frame.select((keep & pl.col("value").is_finite()).fill_null(False)).to_series().to_numpy()
    at = np.flatnonzero(wanted)
    _, first, row, count = np.unique(_numbers(frame)[at], return_index=True, return_inverse=True, return_counts=True)
    names = frame[at[first]].select(_NAME).with_row_index("number").filter(pl.Series(count >= min_windows)).sort(_NAME)
    series = tuple(Series(*name) for name in names.select(_NAME).iter_rows())
    place = np.full(len(first), -1)
    place[names["number"].to_numpy()] = np.arange(len(series))
    row = place[row]
    at, row = at[row >= 0], row[row >= 0]
    starts = frame["start_ms"].to_numpy()[at]
    start_ms = int(starts.min()) if starts.size else history.from_ms
    windows = (starts - start_ms) // history.resolution_ms
    scaled = np.full((len(series), int(windows.max(initial=-1)) + 1), np.nan)
    forms = scales.codes(series)
    scaled[row, windows] = scales.forward(frame["value"].to_numpy()[at], forms[row])
    return Panel(series, forms, start_ms, history.resolution_ms, scaled)


def _in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame by entity, indicator and time, which histories of the engine are already."""
    order = ["entity", "indicator", "start_ms"]
    back, level = pl.lit(False), pl.lit(True)
    for name in order:
        back = back | (level & (pl.col(name) < pl.col(name).shift(1)))
        level = level & (pl.col(name) == pl.col(name).shift(1))
    return frame.sort(order) if frame.select(back.any()).item() else frame


def _numbers(frame: pl.DataFrame) -> NDArray[np.int64]:
    """Return a number for each row, the same for rows of one series. Nothing is sorted: a history may be millions."""
    changed = frame.select(
        ((pl.col("entity") != pl.col("entity").shift(1)) | (pl.col("indicator") != pl.col("indicator").shift(1)))
        .fill_null(True)
        .cum_sum()
        .cast(pl.Int64)
    )
    known = frame["form"].unique().sort()  # a handful
    form = frame["form"].replace_strict(known, np.arange(len(known)), return_dtype=pl.Int64)
    numbers: NDArray[np.int64] = changed.to_series().to_numpy() * max(len(known), 1) + form.to_numpy()
    return numbers


def normal(panel: Panel) -> tuple[Floats, Floats]:
    """Return each series' median and believed robust deviation, (S,) and (S,), on its form's scale.

    The deviation is the larger of two that agree for a normal: the median absolute one, and that of the middle nine
    tenths, so that a pulse every tenth window is part of what is usual.
    """
    if not panel.series:
        return np.empty(0), np.empty(0)
    centre = np.nanmedian(panel.scaled, axis=1)
    middle = _NORMAL_PER_MEDIAN * np.nanmedian(np.abs(panel.scaled - centre[:, None]), axis=1)
    low, high = np.nanquantile(panel.scaled, [0.05, 0.95], axis=1)
    spread = np.maximum(middle, (high - low) / _NORMAL_NINE_TENTHS)
    return centre, np.maximum(spread, scales.floor(centre, panel.forms, whole(panel)))


def whole(panel: Panel) -> Bools:
    """Return which series are gauges that have only ever shown whole numbers of things, (S,)."""
    gauges: Bools = (panel.forms == scales.GAUGE) & scales.looks_whole(panel.scaled).all(axis=1)
    return gauges
