"""Arrays by series number that grow together: where detectors of one shard keep what they know of each series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import StateMismatch
from engine.types import State

Field = tuple[str, float, int]
"""dtype, value of a series nothing is known of, and width (0 for one number a series)."""


class Columns:
    """Columns of one length, indexed by the numbers of a `SeriesIndex`.

    Room grows by doubling, so that a new series costs amortised constant time; only the `size` rows that were claimed
    with `claim` are state. Reading ahead of `size` gives each field's value for the unknown, so scoring stays pure.
    """

    __slots__ = ("_arrays", "_fields", "size")

    def __init__(self, fields: Mapping[str, Field], resume: State | None = None) -> None:
        """Start empty, or with what `snapshot` returned; raise StateMismatch when that has other columns."""
        self._fields = dict(fields)
        self.size = 0
        self._arrays: dict[str, NDArray[Any]] = {name: _full(field, 0) for name, field in self._fields.items()}
        if resume is not None:
            self._restore(resume)

    def _restore(self, state: State) -> None:
        if set(state) != set(self._fields):
            raise StateMismatch("saved columns are of another version; start clean or use the version that wrote them")
        for name, (dtype, _, width) in self._fields.items():
            saved = np.array(state[name], dtype=dtype)
            if saved.shape[1:] != ((width,) if width else ()):
                raise StateMismatch(f"saved column {name} has width {saved.shape[1:]}, the settings want {width}")
            self._arrays[name] = saved
            self.size = saved.shape[0]

    def room(self, count: int) -> None:
        """Make rows 0 to `count` readable. Not a change of state."""
        have = next(iter(self._arrays.values())).shape[0]
        if count <= have:
            return
        more = max(count, 2 * have, 64) - have
        self._arrays = {
            name: np.concatenate([array, _full(self._fields[name], more)]) for name, array in self._arrays.items()
        }

    def claim(self, count: int) -> None:
        """Make rows 0 to `count` part of the state."""
        self.room(count)
        self.size = max(self.size, count)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def snapshot(self) -> State:
        """Return copies of the claimed rows by column."""
        return {name: array[: self.size].copy() for name, array in self._arrays.items()}


def _full(field: Field, rows: int) -> NDArray[Any]:
    dtype, fill, width = field
    return np.full((rows, width) if width else rows, fill, dtype=dtype)
