"""Events that are told late are news all the same: they count in the oldest open window, under their own time.

Alerts are grouped and audit records collected before they are sent, so that their windows are out when they come. What
was in a window before is not news again: a repeat is late, or a duplicate where its window is still open. Judged row by
row, in order, so that it makes no difference how rows are cut into batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl

from engine.repeats import Hashes, Seen, row_hashes
from engine.types import Bools, Ints, State

MOST_RUNS: Final = 180
"""Runs of rows that may be told late into one window: the metadata of a commit must hold them (`text_of`)."""

_ROWS: Final = 1 << 20  # of one message; those beyond are not told late
_ROW_BITS: Final = 20


class LateEvents:
    """Places late events, and remembers those of windows that are out: eight bytes each, for `keep_ms`."""

    def __init__(self, keep_ms: int, resume: State | None = None) -> None:
        self._keep_ms = keep_ms
        self._out: dict[int, Hashes] = {int(start): told for start, told in (resume or {}).items()}

    def add(self, start_ms: int, rows: pl.DataFrame) -> None:
        """Remember the rows of a window that goes out; what is too old to be told late is forgotten."""
        self._out = {start: told for start, told in self._out.items() if start >= start_ms - self._keep_ms}
        self._out[start_ms] = row_hashes(rows.filter(pl.col("identity") != 0))

    def place(
        self,
        rows: pl.DataFrame,
        open_ms: Ints,
        is_late: Bools,
        seen: Mapping[int, Seen],
        held: Mapping[int, Sequence[int]],
    ) -> tuple[Ints, Bools]:
        """Return (N,) the window of each row, and which rows are late for good.

        rows        a batch, with `_start` and `_key` (`with_keys`)
        open_ms     the oldest window that was open at each row
        seen        hashes of the rows in open windows
        held        keys of rows that were told late into open windows before
        """
        hashes, keys = row_hashes(rows), rows["_key"].to_list()
        starts, late = rows["_start"].to_numpy().copy(), is_late.copy()
        before = self._where(hashes, seen)
        fresh = is_late & (rows["ts_ms"].to_numpy() >= open_ms - self._keep_ms)
        own = rows["identity"].to_numpy() != 0
        runs = {start: Runs(told) for start, told in held.items()}
        batch: dict[int, int] = {}
        for place in range(rows.height):
            window, one = int(open_ms[place]), int(hashes[place])
            if fresh[place]:
                known = batch.get(one, int(before[place])) if own[place] else _NOWHERE
                if known == window or (known == _NOWHERE and runs.setdefault(window, Runs()).takes(keys[place])):
                    starts[place], late[place] = window, False
            if not late[place]:
                batch.setdefault(one, int(starts[place]))
        return starts, late

    def snapshot(self) -> State:
        """Return a copy of all state."""
        return {str(start): told.copy() for start, told in sorted(self._out.items())}

    def _where(self, hashes: Hashes, seen: Mapping[int, Seen]) -> Ints:
        """Return (N,) the open window that holds each row already, _OUT for one that is out, else _NOWHERE."""
        where = np.full(len(hashes), _NOWHERE, np.int64)
        if self._out:
            where[np.isin(hashes, np.concatenate(list(self._out.values())))] = _OUT
        for start, one in seen.items():
            where[one.holds(hashes)] = start
        return where


_NOWHERE: Final = -1
_OUT: Final = -2


class Runs:
    """Ascending keys as runs of neighbours, no more than MOST_RUNS of them."""

    __slots__ = ("_count", "_last")

    def __init__(self, keys: Sequence[int] = ()) -> None:
        self._count = len(runs_of(keys))
        self._last = keys[-1] if keys else -2

    def takes(self, key: int) -> bool:
        """Take a key, and return True, unless it would begin one run too many."""
        if key % _ROWS == _ROWS - 1:
            return False
        begins = key != self._last + 1
        if begins and self._count >= MOST_RUNS:
            return False
        self._count += begins
        self._last = key
        return True


def with_keys(rows: pl.DataFrame) -> pl.DataFrame:
    """Return `rows` with `_key`: the offset of each row's message and its number in it, as one number.

    Decoding is pure, so a message that is read again gives its rows the same keys.
    """
    number = pl.int_range(pl.len(), dtype=pl.Int64).over("offset").clip(upper_bound=_ROWS - 1)
    return rows.with_columns(_key=(pl.col("offset") * _ROWS) + number)


def runs_of(keys: Sequence[int]) -> list[tuple[int, int]]:
    """Return ascending keys as (first, how many).

    >>> runs_of([3, 4, 5, 9])
    [(3, 3), (9, 1)]
    """
    array = np.asarray(keys, np.int64)
    begins = np.flatnonzero(np.r_[True, np.diff(array) != 1][: len(array)])
    return list(zip(array[begins].tolist(), np.diff(np.r_[begins, len(array)]).tolist(), strict=True))


def text_of(keys: Sequence[int]) -> str:
    """Return ascending keys as short text: each run by its message's distance from the last, its row and its length.

    >>> text_of([7 << 20, (7 << 20) + 1, 9 << 20])
    '7.0.2 2.0.1'
    """
    parts: list[str] = []
    last = 0
    for first, length in runs_of(keys):
        offset, row = first >> _ROW_BITS, first % _ROWS
        parts.append(f"{offset - last:x}.{row:x}.{length:x}")
        last = offset
    return " ".join(parts)


def keys_in(text: str) -> list[int]:
    """Return the keys that `text_of` wrote down."""
    keys: list[int] = []
    last = 0
    for part in text.split():
        distance, row, length = (int(one, 16) for one in part.split("."))
        last += distance
        first = (last << _ROW_BITS) + row
        keys += range(first, first + length)
    return keys
