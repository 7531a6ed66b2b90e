"""What fits look back on: the values of a scope's series, twelve bytes each.

Names are kept once and rows refer to them by number. A week of minutes of a thousand series with their names in every
row would be a gigabyte; like this it is a tenth, and it is put in order without comparing names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.types import Bools, Floats, Ints, State

NAME: Final = ("entity", "indicator", "form")
_NAMES: Final = pl.Schema(dict.fromkeys(NAME, pl.String))


@dataclass(frozen=True, slots=True)
class _Window:
    start_ms: int
    known_ms: int  # start of the window in which it became known: later than what it is about, for cost
    numbers: Ints
    values: Floats


class FitHistory:
    """The windows of one scope and resolution, by the keys of the messages they came in; a key again replaces."""

    def __init__(self, resume: State | None = None) -> None:
        self._names = resume["names"] if resume else _NAMES.to_frame()
        self._windows = {
            key: _Window(start, known, numbers.astype(np.uint32), values)
            for key, start, known, numbers, values in (resume["windows"] if resume else ())
        }

    def add(self, key: str, frame: pl.DataFrame) -> None:
        """Take one window: columns start_ms and window_ms (one value each), entity, indicator, form, value."""
        new = frame.select(NAME).join(self._names, on=NAME, how="anti").unique(maintain_order=True)
        self._names = pl.concat([self._names, new])
        numbered = frame.select(NAME).join(self._names.with_row_index("at"), on=NAME, how="left", maintain_order="left")
        start, known = frame.select("start_ms", "window_ms").row(0)
        self._windows[key] = _Window(start, known, numbered["at"].to_numpy(), frame["value"].to_numpy())

    def forget_before(self, from_ms: int) -> None:
        """Let go of windows that start before `from_ms`, and of names that are in no window any more."""
        old = [key for key, window in self._windows.items() if window.start_ms < from_ms]
        for key in old:
            del self._windows[key]
        if old:
            self._forget_names()

    def settle(self, until_ms: int) -> None:
        """Keep one window of each time of which several told before `until_ms`: the last value of each series.

        Call it with what is asked for next or earlier. Without it, every revision of a cost would be kept.
        """
        told: dict[int, list[str]] = {}
        for key, window in sorted(self._windows.items(), key=lambda one: (one[1].known_ms, one[0])):
            if window.start_ms != window.known_ms < until_ms:
                told.setdefault(window.start_ms, []).append(key)
        for start, keys in told.items():
            if len(keys) > 1:
                self._windows[f"settled/{start}"] = _merged([self._windows.pop(key) for key in keys])

    def until(self, until_ms: int) -> pl.DataFrame:
        """Return what became known before `until_ms`: start_ms and the rest, by entity, indicator and time.

        Of several values of one series and time the one that became known last.
        """
        windows = sorted(((w.start_ms, w.known_ms, key) for key, w in self._windows.items() if w.known_ms < until_ms))
        used = [self._windows[key] for *_, key in windows]
        names = self._names.with_row_index("at").sort(*NAME)
        place = np.empty(names.height, np.uint32)
        place[names["at"].to_numpy()] = np.arange(names.height, dtype=np.uint32)
        at = np.concatenate([place[:0], *(place[window.numbers] for window in used)])
        order = np.argsort(at, kind="stable")
        starts = np.repeat(np.array([w.start_ms for w in used], np.int64), [len(w.numbers) for w in used])
        values = np.concatenate([np.empty(0), *(window.values for window in used)])
        if any(w.known_ms != w.start_ms for w in used):
            order = order[_latest(at[order], starts[order])]
        return names.select(NAME)[at[order]].select(
            pl.Series("start_ms", starts[order]), *NAME, pl.Series("value", values[order])
        )

    def snapshot(self) -> State:
        """Return all state."""
        windows = [[key, w.start_ms, w.known_ms, w.numbers, w.values] for key, w in sorted(self._windows.items())]
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
            key: _Window(w.start_ms, w.known_ms, renumbered[w.numbers].astype(np.uint32), w.values)
            for key, w in self._windows.items()
        }


def _merged(windows: Sequence[_Window]) -> _Window:
    """Return windows of one time as one; of each series the value of the last that has it."""
    numbers = np.concatenate([one.numbers for one in reversed(windows)])
    values = np.concatenate([one.values for one in reversed(windows)])
    numbers, first = np.unique(numbers, return_index=True)
    return _Window(windows[-1].start_ms, windows[-1].known_ms, numbers, values[first])


def _latest(series: NDArray[np.uint32], starts: Ints) -> Bools:
    """Return which rows, sorted by series, start and when they became known, are the last of their series and start."""
    last = np.ones(len(series), np.bool_)
    last[:-1] = (series[1:] != series[:-1]) | (starts[1:] != starts[:-1])
    return last
