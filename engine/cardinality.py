"""Bounds how many series a metric may have: a label that explodes must cost its own metric, and nobody else.

The series known first stay; those beyond the limit are dropped and counted under the metric's name. Judged row by row
against the rows before it in the same input partition, so it makes no difference how rows are cut into batches.
A series that has said nothing for `forget_ms` makes room: pods come and go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.repeats import Hashes, is_at
from engine.types import Bools, Ints, State

EVERYTHING: Final = "all metrics together"
"""The name under which rows are dropped when not one metric but their number explodes."""

OVER_THE_LIMIT: Final = (
    "%s: metric %s has more series than pipeline.max_series_per_metric (or all have more than pipeline.max_series); "
    "new ones are dropped and counted, those known stay: drop the label that explodes, or raise the limit"
)
"""What runners tell people, with the input and the metric, once each."""

_METRIC: Final = pl.col("indicator").str.split("{").list.first()


@dataclass(frozen=True, slots=True)
class SeriesLimitConfig:
    """How many series are let in.

    per_metric  of one metric and input partition; raise it for a metric that rightly has more
    in_all      of one input partition; 20 bytes are kept of each here, and some kB where it is scored
    forget_ms   after how much event time without a sample a series no longer counts
    """

    per_metric: int = 100_000
    in_all: int = 2_000_000
    forget_ms: int = 6 * 3_600_000


class SeriesLimit:
    """Lets series in, of one input partition."""

    def __init__(self, config: SeriesLimitConfig, resume: State | None = None) -> None:
        self._config = config
        self._known: Hashes = np.empty(0, np.uint64)  # sorted
        self._last_ms: Ints = np.empty(0, np.int64)
        self._metric: NDArray[np.int32] = np.empty(0, np.int32)
        self._names: list[str] = []
        self._era = 0
        if resume:
            self._known, self._last_ms, self._metric = resume["known"], resume["last_ms"], resume["metric"]
            self._names, self._era = list(resume["names"]), resume["era"]
        self._codes = {name: code for code, name in enumerate(self._names)}

    def __len__(self) -> int:
        return len(self._known)

    def admit(self, rows: pl.DataFrame, closed_ms: Ints) -> tuple[Bools, Mapping[str, int]]:
        """Return (N,) which rows may pass, and how many may not by metric; remembers the series of those that may.

        `closed_ms` is the watermark at each row, which never falls. Rows without an identity pass.
        """
        mask = np.ones(rows.height, np.bool_)
        dropped: Counter[str] = Counter()
        eras = np.maximum(closed_ms // self._step_ms, self._era)
        starts = np.flatnonzero(np.r_[True, eras[1:] != eras[:-1]])[: rows.height].tolist()
        for start, end in zip(starts, [*starts[1:], rows.height], strict=bool(starts)):
            self._forget(int(eras[start]))
            part = rows.slice(start, end - start)
            mask[start:end] = self._admit(part, dropped)
        return mask, dropped

    def ages(self, closed_ms: int) -> bool:
        """Return whether series may be forgotten when the watermark is at `closed_ms`."""
        return closed_ms // self._step_ms > self._era

    def heard(self, hashes: Hashes, ts_ms: Ints) -> None:
        """Remember when known series spoke last."""
        self._touch(hashes, ts_ms)

    def snapshot(self) -> State:
        """Return a copy of all state."""
        return {
            "version": 1,
            "known": self._known.copy(),
            "last_ms": self._last_ms.copy(),
            "metric": self._metric.copy(),
            "names": list(self._names),
            "era": self._era,
        }

    @property
    def _step_ms(self) -> int:
        return max(self._config.forget_ms // 6, 1)

    def _admit(self, rows: pl.DataFrame, dropped: Counter[str]) -> Bools:
        hashes = rows["identity"].to_numpy()
        passing: Bools = (hashes == 0) | self._touch(hashes, rows["ts_ms"].to_numpy())
        if passing.all():
            return passing
        new = np.flatnonzero(~passing)
        unknown = rows.select("identity", "ts_ms", "indicator")[new].with_columns(metric=_METRIC)
        admitted = self._first_come(unknown.unique("identity", keep="first", maintain_order=True))
        self._insert(admitted.sort("identity"))
        passing[new] = self._touch(unknown["identity"].to_numpy(), unknown["ts_ms"].to_numpy())
        if passing.all():
            return passing
        refused = unknown.filter(~passing[new])
        for metric, count in refused.group_by("metric").len().sort("metric").iter_rows():
            dropped[metric if metric in self._codes else EVERYTHING] += count
        return passing

    def _touch(self, hashes: Hashes, ts_ms: Ints) -> Bools:
        """Return which series are known, and remember when they spoke."""
        places = np.searchsorted(self._known, hashes)
        known = is_at(self._known, hashes, places)
        np.maximum.at(self._last_ms, places[known], ts_ms[known])
        return known

    def _first_come(self, series: pl.DataFrame) -> pl.DataFrame:
        """Return those of the new series, each once and in their order, for which there is room."""
        taken = dict(zip(self._names, np.bincount(self._metric, minlength=len(self._names)).tolist(), strict=True))
        fitting: list[bool] = []
        for metric in series["metric"]:
            number = taken.get(metric, 0)
            fitting.append(number < self._config.per_metric)
            taken[metric] = number + 1
        return series.filter(pl.Series(fitting, dtype=pl.Boolean)).head(max(self._config.in_all - len(self._known), 0))

    def _insert(self, series: pl.DataFrame) -> None:
        for name in series["metric"].unique(maintain_order=True):
            if name not in self._codes:
                self._codes[name] = len(self._names)
                self._names.append(name)
        hashes = series["identity"].to_numpy()
        codes = np.array([self._codes[name] for name in series["metric"]], np.int32)
        places = np.searchsorted(self._known, hashes)
        self._known = np.insert(self._known, places, hashes)
        self._last_ms = np.insert(self._last_ms, places, series["ts_ms"].to_numpy())
        self._metric = np.insert(self._metric, places, codes)

    def _forget(self, era: int) -> None:
        """Let go of series that were silent; once an era, which is a sixth of `forget_ms`."""
        if era <= self._era:
            return
        self._era = era
        keep = self._last_ms >= era * self._step_ms - self._config.forget_ms
        self._known, self._last_ms, self._metric = self._known[keep], self._last_ms[keep], self._metric[keep]
        used = np.unique(self._metric)
        renumbered = np.zeros(len(self._names), np.int32)
        renumbered[used] = np.arange(len(used), dtype=np.int32)
        self._names = [self._names[code] for code in used]
        self._codes = {name: code for code, name in enumerate(self._names)}
        self._metric = renumbered[self._metric]
