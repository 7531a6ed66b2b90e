"""What one input remembers of its numbered series: when each spoke last, and whether the limit let it in.

Both are short cuts that are exact: a row that is later than all before it of its series repeats none of them, and a
series that was let in stays in until the limit forgets. What the short cuts cannot decide is decided row by row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.measures import Measures
from engine.numbered import SeriesNames
from engine.repeats import Hashes
from engine.types import Bools, Ints

Numbers = NDArray[np.uint32]


class SeriesRows:
    """Nine bytes a series. Numbers hold for one generation of names; with another it begins anew, knowing nothing."""

    __slots__ = ("_last_ms", "_place", "admitted", "generation", "measures")

    def __init__(self, measures: Measures) -> None:
        self.measures = measures
        self._begin(-1)

    def _begin(self, generation: int) -> None:
        self.generation = generation
        self._last_ms: Ints = np.empty(0, np.int64)
        self._place: NDArray[np.int32] = np.empty(0, np.int32)
        self.admitted: Bools = np.empty(0, np.bool_)

    def follow(self, names: SeriesNames) -> bool:
        """Make room for new series; return False when the names are of another generation, and all was forgotten."""
        self.measures.follow(names)
        same = names.generation == self.generation
        if not same:
            self._begin(names.generation)
        more = len(self.measures) - len(self._last_ms)
        if more:
            self._last_ms = np.concatenate([self._last_ms, np.full(more, -1, np.int64)])
            self._place = np.concatenate([self._place, np.zeros(more, np.int32)])
            self.admitted = np.concatenate([self.admitted, np.zeros(more, np.bool_)])
        return same

    def spoke(self) -> tuple[Hashes, Ints]:
        """Return the identities of the series that spoke, and when they did last."""
        if self.measures.generation != self.generation:
            return np.empty(0, np.uint64), np.empty(0, np.int64)  # another input was told new names, and these are gone
        heard = np.flatnonzero(self._last_ms >= 0)  # others may have learned more series than this input has heard of
        return self.measures.identity[heard], self._last_ms[heard]

    def advance(self, series: Numbers, times_ms: Ints) -> bool:
        """Remember rows; return whether each was later than all before it of its series, in these rows and earlier."""
        later = bool((times_ms > self._last_ms[series]).all())
        self._place[series] = np.arange(len(series), dtype=np.int32)
        if (self._place[series] == np.arange(len(series), dtype=np.int32)).all():  # each series has one row
            if later:
                self._last_ms[series] = times_ms
            else:
                self._last_ms[series] = np.maximum(times_ms, self._last_ms[series])
            return later
        return self._advance_many(series, times_ms) and later

    def _advance_many(self, series: Numbers, times_ms: Ints) -> bool:
        order = np.argsort(series, kind="stable")
        series, times_ms = series[order], times_ms[order]
        begins = np.flatnonzero(np.r_[True, series[1:] != series[:-1]])
        rises = times_ms[1:] > times_ms[:-1]
        rises[begins[1:] - 1] = True
        latest = np.maximum.reduceat(times_ms, begins)
        self._last_ms[series[begins]] = np.maximum(latest, self._last_ms[series[begins]])
        return bool(rises.all())
