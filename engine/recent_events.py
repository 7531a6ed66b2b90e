"""Remembers the events of windows that are out, so that one which is told again is not news again."""

from __future__ import annotations

import numpy as np
import polars as pl

from engine.repeats import Hashes, row_hashes
from engine.types import Bools, State


class RecentEvents:
    """Keeps eight bytes an event for `keep_ms` after its window; asked only about events that come late."""

    def __init__(self, keep_ms: int, resume: State | None = None) -> None:
        self._keep_ms = keep_ms
        self._hashes: dict[int, Hashes] = {int(start): told for start, told in (resume or {}).items()}

    def knows(self, rows: pl.DataFrame) -> Bools:
        """Return (N,) which rows were in a window that is out; those without an identity never were."""
        if not self._hashes:
            return np.zeros(rows.height, np.bool_)
        known = np.isin(row_hashes(rows), np.concatenate(list(self._hashes.values())))
        return np.asarray(known & (rows["identity"].to_numpy() != 0), np.bool_)

    def add(self, start_ms: int, rows: pl.DataFrame) -> None:
        """Remember the rows of a window that goes out; what is too old to be told late is forgotten."""
        self._hashes = {start: told for start, told in self._hashes.items() if start >= start_ms - self._keep_ms}
        self._hashes[start_ms] = row_hashes(rows.filter(pl.col("identity") != 0))

    def snapshot(self) -> State:
        """Return a copy of all state."""
        return {str(start): told.copy() for start, told in sorted(self._hashes.items())}
