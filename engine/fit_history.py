"""What fits look back on: the values of a scope's series, twelve bytes each.

Names are kept once and rows refer to them by number. A week of minutes of a thousand series with their names in every
row would be a gigabyte; like this it is a tenth, and it is put in order without comparing names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from engine.types import Floats, Ints, State

NAME: Final = ("entity", "indicator", "form")
_NAMES: Final = pl.Schema(dict.fromkeys(NAME, pl.String))


@dataclass(frozen=True, slots=True)
class _Window:
    start_ms: int
    numbers: Ints
    values: Floats


class FitHistory:
    """The windows of one scope and resolution, by the keys of the messages they came in; a key again replaces."""

    def __init__(self, resume: State | None = None) -> None:
        self._names = resume["names"] if resume else _NAMES.to_frame()
        self._windows = {
            key: _Window(start, numbers.astype(np.uint32), values)
            for key, start, numbers, values in (resume["windows"] if resume else ())
        }

    def add(self, key: str, frame: pl.DataFrame) -> None:
        """Take one window: columns start_ms (one value), entity, indicator, form, value."""
        new = frame.select(NAME).join(self._names, on=NAME, how="anti").unique(maintain_order=True)
        self._names = pl.concat([self._names, new])
        numbered = frame.select(NAME).join(self._names.with_row_index("at"), on=NAME, how="left", maintain_order="left")
        self._windows[key] = _Window(int(frame["start_ms"][0]), numbered["at"].to_numpy(), frame["value"].to_numpy())

    def forget_before(self, from_ms: int) -> None:
        """Let go of windows that start before `from_ms`, and of names that are in no window any more."""
        old = [key for key, window in self._windows.items() if window.start_ms < from_ms]
        for key in old:
            del self._windows[key]
        if old:
            self._forget_names()

    def until(self, until_ms: int) -> pl.DataFrame:
        """Return the windows that start before `until_ms`: start_ms and the rest, by entity, indicator and time."""
        windows = sorted(((w.start_ms, key) for key, w in self._windows.items() if w.start_ms < until_ms))
        used = [self._windows[key] for _, key in windows]
        names = self._names.with_row_index("at").sort(*NAME)
        place = np.empty(names.height, np.uint32)
        place[names["at"].to_numpy()] = np.arange(names.height, dtype=np.uint32)
        at = np.concatenate([place[:0], *(place[window.numbers] for window in used)])
        order = np.argsort(at, kind="stable")
        starts = np.repeat(np.array([w.start_ms for w in used], np.int64), [len(w.numbers) for w in used])
        values = np.concatenate([np.empty(0), *(window.values for window in used)])
        return names.select(NAME)[at[order]].select(
            pl.Series("start_ms", starts[order]), *NAME, pl.Series("value", values[order])
        )

    def snapshot(self) -> State:
        """Return all state."""
        windows = [[key, w.start_ms, w.numbers, w.values] for key, w in sorted(self._windows.items())]
        return {"names": self._names, "windows": windows}

    def _forget_names(self) -> None:
        used = np.zeros(self._names.height, bool)
        for window in self._windows.values():
            used[window.numbers] = True
        if 2 * int(used.sum()) > len(used):
            return
        renumbered = np.cumsum(used) - 1
        self._names = self._names.filter(pl.Series(used))
        self._windows = {
            key: _Window(w.start_ms, renumbered[w.numbers].astype(np.uint32), w.values)
            for key, w in self._windows.items()
        }
