"""From samples of counters to rates: increase per second between samples, resets counted, summed over instances.

A rate is the increase over the time between samples, so that a gap makes no spike. What is remembered of a counter is
its last sample.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from engine.ids import identity_of
from engine.partials import PARTIALS
from engine.repeats import Hashes, is_at
from engine.series_book import SeriesBook
from engine.types import Floats, Ints

COUNTERS: Final = pl.Schema({name: PARTIALS[name] for name in ("shard", "entity", "indicator", "instance", "key")})


class Rates:
    """The counters of one step by their keys, each with its last sample: 40 bytes, and its names."""

    def __init__(self, book: SeriesBook, saved: pl.DataFrame | None = None) -> None:
        self._book = book
        self._names = COUNTERS.to_frame()
        self._keys: Hashes = np.empty(0, np.uint64)  # sorted; the arrays below are by its order
        self._at: Ints = np.empty(0, np.int64)  # row in `_names`
        self._series: Ints = np.empty(0, np.int64)  # the rate that the counter belongs to
        self._time: Ints = np.empty(0, np.int64)
        self._sample: Floats = np.empty(0)
        if saved is not None:
            self._learn(saved.select(COUNTERS.names()))
            at = np.searchsorted(self._keys, saved["key"].to_numpy())
            self._time[at], self._sample[at] = saved["time"].to_numpy(), saved["sample"].to_numpy()

    def of(self, part: pl.DataFrame) -> tuple[Ints, Floats]:
        """Return series numbers and their rates, from a window's partials of counters in the order of their inputs.

        `part` has the columns of COUNTERS, `times` and `samples`. A counter that is seen first has no rate yet.
        """
        if part.is_empty():
            return np.empty(0, np.int64), np.empty(0)
        keys = self._keys_of(part)
        lengths = part["times"].list.len().to_numpy().astype(np.int64)
        times = part["times"].explode(keep_nulls=False, empty_as_null=False).to_numpy()
        samples = part["samples"].explode(keep_nulls=False, empty_as_null=False).to_numpy()
        counter = np.repeat(np.searchsorted(self._keys, keys), lengths)
        order = _order(counter, times, samples)
        if order is not None:
            counter, times, samples = counter[order], times[order], samples[order]
        return self._rated(counter, times, samples)

    def saved(self) -> pl.DataFrame:
        """Return all state."""
        return self._names[self._at].with_columns(time=pl.Series(self._time), sample=pl.Series(self._sample))

    def _rated(self, counter: Ints, times: Ints, samples: Floats) -> tuple[Ints, Floats]:
        if not len(counter):
            return np.empty(0, np.int64), np.empty(0)
        begins = np.flatnonzero(np.r_[True, counter[1:] != counter[:-1]])
        present, ends = counter[begins], np.r_[begins[1:], len(counter)] - 1
        before_ms, before = np.r_[np.int64(0), times[:-1]], np.r_[0.0, samples[:-1]]
        before_ms[begins], before[begins] = self._time[present], self._sample[present]
        step = samples - before
        step = np.where(step >= 0, step, samples)  # after a reset all of its value is increase
        elapsed_ms = np.where(before_ms >= 0, times - before_ms, 0)
        step = np.where(before_ms >= 0, step, 0.0)
        self._time[present], self._sample[present] = times[ends], samples[ends]
        group = np.cumsum(np.r_[False, counter[1:] != counter[:-1]])
        steps, elapsed = np.bincount(group, weights=step), np.bincount(group, weights=elapsed_ms)
        rated = elapsed > 0
        rates = steps[rated] / (elapsed[rated] / 1000)
        series, where = np.unique(self._series[present[rated]], return_inverse=True)
        return series, np.asarray(np.bincount(where, weights=rates), np.float64)  # in the order of the keys

    def _keys_of(self, part: pl.DataFrame) -> Hashes:
        """Return the key of each row, learning counters that are new."""
        keys = part["key"].to_numpy().copy()
        nameless = np.flatnonzero(keys == 0)
        if len(nameless):
            named = part[nameless].select("entity", pl.lit("counter"), "indicator", "instance")
            keys[nameless] = np.fromiter((identity_of(*row) for row in named.iter_rows()), np.uint64, len(nameless))
        new = ~is_at(self._keys, keys, np.searchsorted(self._keys, keys))
        if new.any():
            rows = part.select(COUNTERS.names()).with_columns(key=pl.Series(keys)).filter(pl.Series(new))
            self._learn(rows.unique("key", keep="first", maintain_order=True))
        return keys

    def _learn(self, rows: pl.DataFrame) -> None:
        rows = rows.sort("key")
        rate = rows.select("shard", "entity", "indicator", form=pl.lit("rate"))
        keys = rows["key"].to_numpy()
        places = np.searchsorted(self._keys, keys)
        at = np.arange(self._names.height, self._names.height + rows.height)
        self._names = self._names.vstack(rows).rechunk()
        self._keys = np.insert(self._keys, places, keys)
        self._at = np.insert(self._at, places, at)
        self._series = np.insert(self._series, places, self._book.numbers_of(rate))
        self._time = np.insert(self._time, places, -1)
        self._sample = np.insert(self._sample, places, np.nan)


def _order(counter: Ints, times: Ints, samples: Floats) -> Ints | None:
    """Return what sorts samples by (counter, time, value), or None where they are sorted already."""
    if not len(times):
        return None
    lowest = int(times.min())
    if (int(times.max()) - lowest) >> _TIME_BITS or int(counter.max()) >> (62 - _TIME_BITS):
        return np.lexsort((samples, times, counter))
    both = (counter << _TIME_BITS) | (times - lowest)  # one number is sorted in a fraction of the time of two
    if (both[1:] > both[:-1]).all():
        return None
    order = np.argsort(both)
    both = both[order]
    return np.lexsort((samples, times, counter)) if (both[1:] == both[:-1]).any() else order


_TIME_BITS: Final = 38  # more milliseconds than eight years have
