"""From numbered rows of metrics to partials: which partial a series' rows belong to, without a look at names.

Several series may have one partial: the gauges of a service's pods are one mean, while each replica's counter is its
own. A partial is known by a key made of its names, so that whoever merges partials compares numbers too.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.ids import identity_of, shard_of
from engine.numbered import Numbered, SeriesNames
from engine.partials import PARTIALS
from engine.repeats import Hashes, is_at
from engine.scope_codes import Codes, ScopeCodes
from engine.types import Bools, Floats, Ints

GAUGE: Final = 0
COUNTER: Final = 1
DELTA: Final = 2
_CODES: Final = {"gauge": GAUGE, "counter": COUNTER, "delta": DELTA}

_MEASURE: Final = pl.Schema(
    {name: PARTIALS[name] for name in ("shard", "entity", "form", "indicator", "instance", "key")}
)
_PIECES: Final = 8  # a frame in more pieces than this is slow to look into


class Measures:
    """What one generation of series makes of windows, by their numbers. May be shared by inputs that share the names.

    identity, form, scope, measure : (series,)
        who a series is; GAUGE, COUNTER or DELTA; which of `scopes`; the number of its partial
    frame : (measures,)
        what each partial is called
    order : (measures,)
        the numbers of the partials, sorted by key
    Learning a series costs some microseconds, once.
    """

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self._begin(-1)

    @property
    def scopes(self) -> list[str]:
        """Return the scopes by their codes."""
        return self._scopes.names

    def __len__(self) -> int:
        return len(self.identity)

    def _begin(self, generation: int) -> None:
        self.generation = generation
        self.identity: Hashes = np.empty(0, np.uint64)
        self.form: NDArray[np.int8] = np.empty(0, np.int8)
        self.scope: Codes = np.empty(0, np.int32)
        self._scopes = ScopeCodes()
        self.measure: NDArray[np.int32] = np.empty(0, np.int32)
        self.frame = _MEASURE.to_frame()
        self.order: NDArray[np.int32] = np.empty(0, np.int32)
        self._keys: Hashes = np.empty(0, np.uint64)  # in the order of `order`: sorted

    def follow(self, names: SeriesNames) -> None:
        """Learn the series that are new in `names`; begin anew with another generation."""
        if names.generation != self.generation:
            self._begin(names.generation)
        new = names.frame[len(self.identity) :]
        if new.is_empty():
            return
        form = new["form"].replace_strict(_CODES, default=GAUGE, return_dtype=pl.Int8).to_numpy()
        self.identity = np.concatenate([self.identity, new["identity"].to_numpy()])
        self.form = np.concatenate([self.form, form])
        self.scope = np.concatenate([self.scope, self._scopes.of(new["entity"])])
        self.measure = np.concatenate([self.measure, self._measures_of(new, form)])

    def _measures_of(self, new: pl.DataFrame, form: NDArray[np.int8]) -> NDArray[np.int32]:
        """Return the measure of each new series, learning those that are new."""
        gauge = form == GAUGE
        named = new.select(
            "entity",
            form=pl.Series(np.where(gauge, "gauge", "counter"), dtype=pl.String),
            indicator="indicator",
            instance=pl.when(pl.Series(gauge)).then(pl.lit("")).otherwise(pl.col("instance")),
        )
        keys = np.fromiter((identity_of(*row) for row in named.iter_rows()), np.uint64, named.height)
        distinct, first = np.unique(keys, return_index=True)
        places = np.searchsorted(self._keys, distinct)
        unknown = ~is_at(self._keys, distinct, places)
        numbers = np.arange(self.frame.height, self.frame.height + int(unknown.sum()), dtype=np.int32)
        self._name(named[first[unknown]], distinct[unknown])
        self.order = np.insert(self.order, places[unknown], numbers)
        self._keys = np.insert(self._keys, places[unknown], distinct[unknown])
        return np.asarray(self.order[np.searchsorted(self._keys, keys)])

    def _name(self, named: pl.DataFrame, keys: Hashes) -> None:
        if named.is_empty():
            return  # another pod's series of measures that are known; of no rows polars would make text
        shards = {one: shard_of(one, self._shards) for one in named["entity"].unique()}
        shard = named["entity"].replace_strict(shards, return_dtype=pl.Int32)
        self.frame = self.frame.vstack(named.with_columns(shard=shard, key=pl.Series(keys)).select(_MEASURE.names()))
        if self.frame.n_chunks() > _PIECES:
            self.frame = self.frame.rechunk()


def partials_of_numbered(rows: Numbered, measures: Measures) -> pl.DataFrame:
    """Return the partials of one window's numbered rows (in their order), schema `PARTIALS`, sorted by form and key.

    `measures` must have followed the rows' names. Sums are made in the order of the rows. Cost: some 20 ns a row and
    100 ns a partial; counters are sorted.
    """
    value = rows.frame["value"].to_numpy()
    series = rows.frame["series"].to_numpy()
    usable = ~np.isnan(value)
    forms = measures.form[series]
    parts = [_gauges(series, value, usable & (forms == GAUGE), measures)]
    if forms.any():
        parts += _counters(rows, usable & (forms != GAUGE), forms, measures)
    return pl.concat(parts, rechunk=True) if len(parts) > 1 else parts[0]


def coverage_of_numbered(rows: Numbered, measures: Measures) -> list[tuple[str, int, int, int]]:
    """Return for each scope, in order, how many rows it has and the times of the first and the last one."""
    times = rows.frame["ts_ms"].to_numpy()
    if len(measures.scopes) == 1:
        return [(measures.scopes[0], len(times), int(times.min()), int(times.max()))] if len(times) else []
    codes = measures.scope[rows.frame["series"].to_numpy()]
    found = [(measures.scopes[code], times[codes == code]) for code in np.unique(codes).tolist()]
    return sorted((scope, len(own), int(own.min()), int(own.max())) for scope, own in found)


def _gauges(series: NDArray[np.uint32], value: Floats, wanted: Bools, measures: Measures) -> pl.DataFrame:
    if not wanted.all():
        series, value = series[wanted], value[wanted]
    measure, many = measures.measure[series], measures.frame.height
    counts = np.bincount(measure, minlength=many)
    totals = np.bincount(measure, weights=value, minlength=many)  # one after the other: in the order of the rows
    present = measures.order[counts[measures.order] > 0]
    return measures.frame[present].select(
        *_MEASURE.names()[:5],
        bucket=pl.lit(0, pl.Int64),
        n=pl.Series(counts[present], dtype=pl.Int64),
        total=pl.Series(totals[present], dtype=pl.Float64),
        times=pl.lit([], pl.List(pl.Int64)),
        samples=pl.lit([], pl.List(pl.Float64)),
        key="key",
    )


def _counters(rows: Numbered, wanted: Bools, forms: NDArray[np.int8], measures: Measures) -> list[pl.DataFrame]:
    times, values = rows.frame["ts_ms"].to_numpy()[wanted], rows.frame["value"].to_numpy()[wanted]
    measure = measures.measure[rows.frame["series"].to_numpy()[wanted]]
    delta = forms[wanted] == DELTA
    if delta.any():
        measure, times, values = _deltas_as_counters(delta, measure, times, values)
    rank = np.empty(measures.frame.height, np.int32)
    rank[measures.order] = np.arange(measures.frame.height, dtype=np.int32)
    order = _stable_order(rank[measure])
    samples = pl.DataFrame({"measure": measure[order], "ts_ms": times[order], "value": values[order]})
    grouped = samples.group_by("measure", maintain_order=True).agg(n=pl.len(), times="ts_ms", samples="value")
    if grouped.is_empty():
        return []
    return [
        measures.frame[grouped["measure"].to_numpy()].select(
            *_MEASURE.names()[:5],
            bucket=pl.lit(0, pl.Int64),
            n=grouped["n"].cast(pl.Int64),
            total=pl.lit(0.0),
            times=grouped["times"],
            samples=grouped["samples"],
            key="key",
        )
    ]


def _deltas_as_counters(
    delta: Bools, measure: NDArray[np.int32], times: Ints, values: Floats
) -> tuple[NDArray[np.int32], Ints, Floats]:
    """Return samples with those of deltas behind the others, and their resets last (`engine.partials`)."""
    order = np.argsort(delta, kind="stable")
    return (
        np.concatenate([measure[order], measure[delta]]),
        np.concatenate([times[order], times[delta] + 1]),
        np.concatenate([values[order], np.zeros(int(delta.sum()))]),
    )


def _stable_order(ranks: NDArray[np.int32]) -> Ints:
    """Return what sorts `ranks`, equal ones in their order: two passes over 16 bits, which numpy sorts by radix."""
    low = np.argsort(ranks.astype(np.uint16), kind="stable")
    return low[np.argsort((ranks >> 16).astype(np.uint16)[low], kind="stable")]
