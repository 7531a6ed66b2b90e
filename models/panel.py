"""A history as one matrix of series by windows, on the scales of their forms: what forests and forecasters train on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.types import Bools, Floats, History, Series
from models import scales

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
    key = ["entity", "indicator", "form"]
    rows = history.frame.filter(keep & pl.col("value").is_finite()).sort(*key, "start_ms")
    rows = rows.filter(pl.len().over(key) >= min_windows)
    names = rows.select(key).unique(maintain_order=True)
    series = tuple(Series(*name) for name in names.iter_rows())
    starts = rows["start_ms"].to_numpy()
    first = int(starts.min()) if starts.size else history.from_ms
    windows = (starts - first) // history.resolution_ms
    row = rows.select((pl.struct(key).rle_id()).cast(pl.Int64)).to_series().to_numpy()
    scaled = np.full((len(series), int(windows.max(initial=-1)) + 1), np.nan)
    forms = scales.codes(series)
    scaled[row, windows] = scales.forward(rows["value"].to_numpy(), forms[row])
    return Panel(series, forms, first, history.resolution_ms, scaled)


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
