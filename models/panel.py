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
    """Return the series of `history` that satisfy `keep` and have a number in at least `min_windows` windows.

    `keep` is about names: entity, indicator, form.
    """
    frame, run = _in_order(history.frame)
    series, row = _rows(frame, run, keep, min_windows)
    at = np.flatnonzero(row >= 0)
    row = row[at]
    starts = frame["start_ms"].to_numpy()[at]
    start_ms = int(starts.min()) if starts.size else history.from_ms
    windows = (starts - start_ms) // history.resolution_ms
    scaled = np.full((len(series), int(windows.max(initial=-1)) + 1), np.nan)
    forms = scales.codes(series)
    scaled[row, windows] = scales.forward(frame["value"].to_numpy()[at], forms[row])
    return Panel(series, forms, start_ms, history.resolution_ms, scaled)


def _rows(
    frame: pl.DataFrame, run: NDArray[np.int32], keep: pl.Expr, min_windows: int
) -> tuple[tuple[Series, ...], NDArray[np.int32]]:
    """Return the series that are kept and have `min_windows` numbers or more; for each row the place of its, or -1."""
    wanted = np.isfinite(frame["value"].to_numpy())
    heads = frame[np.flatnonzero(np.diff(run, prepend=-1))].select("entity", "indicator")
    known = frame["form"].unique().sort()  # a handful
    many = max(len(known), 1)
    form = frame["form"].replace_strict(known, np.arange(len(known)), return_dtype=pl.Int32).to_numpy()
    number = run * np.int32(many) + form.astype(np.int32)
    count = np.bincount(number[wanted], minlength=heads.height * many)
    kept = np.flatnonzero(count >= max(min_windows, 1))
    names = heads[kept // many].with_columns(known[kept % many].alias("form"), number=pl.Series(kept))
    names = names.filter(keep).sort(_NAME)
    place = np.full(len(count), -1, np.int32)
    place[names["number"].to_numpy()] = np.arange(names.height)
    row: NDArray[np.int32] = np.where(wanted, place[number], np.int32(-1))
    return tuple(Series(*name) for name in names.select(_NAME).iter_rows()), row


def _in_order(frame: pl.DataFrame) -> tuple[pl.DataFrame, NDArray[np.int32]]:
    """Return the frame by entity, indicator and time, which histories of the engine are already, and its runs.

    No text is sorted unless it must be: rows may be millions.
    """
    run = _runs(frame)
    heads = frame[np.flatnonzero(np.diff(run, prepend=-1))].select("entity", "indicator")
    back = (np.diff(frame["start_ms"].to_numpy()) < 0) & (np.diff(run) == 0)
    if heads.equals(heads.unique().sort("entity", "indicator")) and not back.any():
        return frame, run
    frame = frame.sort("entity", "indicator", "start_ms")
    return frame, _runs(frame)


def _runs(frame: pl.DataFrame) -> NDArray[np.int32]:
    """Return a number for each row that grows by one where the entity or the indicator is another than before."""
    changed = np.zeros(frame.height, bool)
    for name in ("entity", "indicator"):
        changed[1:] |= np.diff(frame[name].rle_id().to_numpy()) != 0
    return np.cumsum(changed, dtype=np.int32)


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
