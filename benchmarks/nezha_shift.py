"""How far did each series move after a given moment, on the scale of its form? For rankings given the moment.

The detectors learn what is normal from hours; here there are a few minutes, and of log lines and spans one or two. So
the level is their median, and the spread the larger of 1.4826 times their median absolute deviation and of what a form
never stays below (`models.scales.floor`), widened for the few they are. How strange a deviation is, its peers say: the
same indicator of all entities, each of whose minutes before is compared with its others in the same way. Beyond what
peers have shown, tails fall with the third power.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from engine.ids import content_id
from engine.types import Anomaly, Bools, Floats, Ints, Series, Severity
from models import scales

SIGN_TAIL_P: Final = 0.5  # that something is wrong is given, so weak signs count too, as far as they go
_BAND: Final = 3.0
_POWER: Final = 3.0


def shifts(features: pl.DataFrame, onset_ms: int, step_ms: int) -> pl.DataFrame:
    """Return one row a series: its strongest window from `onset_ms` on, in the columns of a ranker's `features`.

    `features` has start_ms, entity, indicator, form, value, text. The window just before the onset is neither normal
    nor strange: a fault is seldom stamped to the second. A count that is missing where its kind spoke is zero. Counts
    are compared from one window of normal on, everything else from two; series with fewer are left out.
    """
    windows = features["start_ms"].unique().sort()
    keys = features.select("entity", "indicator", "form").unique().sort("entity", "indicator", "form")
    forms = scales.codes([Series(*key) for key in keys.iter_rows()])
    values = _matrix(features, windows, keys, forms)
    scaled = np.stack([scales.forward(row, forms) for row in values]) if len(values) else values
    starts = windows.to_numpy()
    before = scaled[starts < onset_ms - step_ms]
    level, spread, ready = _normal(before, forms)
    z = (scaled[starts >= onset_ms] - level) / spread
    z[:, ~ready] = np.nan
    peers = keys["indicator"].str.replace(r"^(log\.template)\..*|\{.*", "${1}").rank("dense").to_numpy()
    usable = np.flatnonzero(np.isfinite(z).any(axis=0))
    best = np.nanargmax(np.abs(z[:, usable]), axis=0)
    strongest, at = z[best, usable], np.flatnonzero(starts >= onset_ms)[best]
    texts = features.select("indicator", "text").unique(["indicator"], keep="first", maintain_order=True)
    return (
        keys[usable]
        .with_columns(
            start_ms=pl.Series(starts[at]),
            value=pl.Series(values[at, usable]),
            tail_p=pl.Series(_tails(np.abs(strongest), peers[usable], *_usual(before, forms, peers), len(z))),
            direction=pl.Series(np.sign(strongest).astype(np.int64)),
            expected_lo=pl.Series(scales.backward((level - _BAND * spread)[usable], forms[usable])),
            expected_hi=pl.Series(scales.backward((level + _BAND * spread)[usable], forms[usable])),
        )
        .join(texts, on="indicator", how="left", maintain_order="left")
    )


def anomalies_of(moved: pl.DataFrame, step_ms: int) -> tuple[Anomaly, ...]:
    """Return the shifts that are signs, as anomalies."""
    return tuple(
        Anomaly(
            id=content_id("anm", row["entity"], row["indicator"], row["start_ms"]),
            entity=row["entity"],
            indicator=row["indicator"],
            form=row["form"],
            detectors=("shift",),
            start_ms=row["start_ms"],
            end_ms=row["start_ms"] + step_ms,
            direction=row["direction"],
            expected_lo=row["expected_lo"],
            expected_hi=row["expected_hi"],
            observed=row["value"],
            tail_p=row["tail_p"],
            severity=Severity.WARNING,
            text=row["text"] or "",
        )
        for row in moved.filter(pl.col("tail_p") < SIGN_TAIL_P).iter_rows(named=True)
    )


def _matrix(features: pl.DataFrame, windows: pl.Series, keys: pl.DataFrame, forms: scales.Codes) -> Floats:
    """Return values as (windows, series): NaN where missing, zero for a count while others were counted."""
    rows = windows.search_sorted(features["start_ms"]).to_numpy()
    numbered = keys.with_row_index("column")
    columns = features.join(numbered, on=["entity", "indicator", "form"], how="left", maintain_order="left")["column"]
    values = np.full((len(windows), keys.height), np.nan)
    values[rows, columns.to_numpy()] = features["value"].to_numpy()
    counts = np.flatnonzero(forms == scales.COUNT)
    spoke = np.isfinite(values[:, counts]).any(axis=1)
    part = values[np.ix_(spoke, counts)]
    values[np.ix_(spoke, counts)] = np.nan_to_num(part, nan=0.0)
    return values


def _normal(before: Floats, forms: scales.Codes) -> tuple[Floats, Floats, Bools]:
    """Return level and spread of each series, and whether there is enough of it to compare with."""
    count = np.isfinite(before).sum(axis=0)
    ready = count >= np.where(forms == scales.COUNT, 1, 2)
    known = np.where(ready, before, 0.0)
    level = np.nanmedian(known, axis=0)
    shown = 1.4826 * np.nanmedian(np.abs(known - level), axis=0)
    believed = np.maximum(shown, scales.floor(level, forms, np.zeros(len(forms), dtype=bool)))
    return level, believed * np.sqrt(1.0 + 1.0 / np.maximum(count, 1)), ready


def _usual(before: Floats, forms: scales.Codes, peers: Ints) -> tuple[Floats, Ints]:
    """Return how far single minutes before lie from the others of their series, and whose peers each is."""
    found: list[Floats] = []
    whose: list[Ints] = []
    for left_out in range(len(before)):
        level, spread, ready = _normal(np.delete(before, left_out, axis=0), forms)
        z = np.abs(before[left_out] - level) / spread
        there = ready & np.isfinite(z)
        found.append(z[there])
        whose.append(peers[there])
    return np.concatenate([np.zeros(0), *found]), np.concatenate([np.zeros(0, dtype=np.int64), *whose])


def _tails(z: Floats, peers: Ints, usual: Floats, whose: Ints, tries: int) -> Floats:
    """Return how likely the largest of `tries` deviations reaches `z` among its peers."""
    tail_p = np.ones(len(z))
    for peer in np.unique(peers):
        mine = np.flatnonzero(peers == peer)
        known = np.sort(usual[whose == peer])
        rare = 0.5 / (len(known) + 1)
        largest = max(known[-1], _BAND) if len(known) else _BAND
        above = len(known) - np.searchsorted(known, z[mine], side="left")
        beyond = rare * np.minimum(1.0, (largest / np.maximum(z[mine], largest)) ** _POWER)
        tail_p[mine] = np.where(above > 0, (above + 0.5) / (len(known) + 1), beyond)
    return np.clip(tail_p * tries, 1e-300, 1.0)


__all__: Sequence[str] = ("anomalies_of", "shifts")
