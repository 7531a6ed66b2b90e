"""Remembers what label sets measure, numbered, so that a row costs a number and not four texts."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingest.metric_labels import Measured

MAX_SERIES: Final = 500_000
MAX_KEY_BYTES: Final = 256 * 1024 * 1024
"""How much is remembered, of an input format, before all is forgotten and learned again (some kB a series)."""

_CHUNKS: Final = 7  # more pieces than this make a look-up very slow
_WORTH_IT: Final = 4  # to copy a series costs what a row saves that is looked up in one piece, and other rows follow
_SCHEMA: Final = pl.Schema(
    {
        "entity": pl.String,
        "indicator": pl.String,
        "instance": pl.String,
        "form": pl.String,
        "identity": pl.UInt64,
        "reason": pl.String,
    }
)


class SeriesTable:
    """Numbers series by what they are known by on the wire, and gives the columns of rows by these numbers.

    `numbers` may be looked into directly, for speed. Numbers hold until `clear`.
    """

    __slots__ = ("_bytes", "_frame", "_new", "_refused", "numbers")

    def __init__(self) -> None:
        self.numbers: dict[bytes, int] = {}
        self._frame = pl.DataFrame(schema=_SCHEMA)
        self._new: list[Measured] = []
        self._refused = False
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Return whether it is time to `clear`."""
        return len(self.numbers) > MAX_SERIES or self._bytes > MAX_KEY_BYTES

    def clear(self) -> None:
        """Forget everything. No number given before may be used then."""
        self.numbers.clear()
        self._frame = self._frame.clear()
        self._new = []
        self._refused = False
        self._bytes = 0

    def add(self, key: bytes, series: Measured) -> int:
        """Remember a series; return its number."""
        number = self._frame.height + len(self._new)
        self.numbers[key] = number
        self._new.append(series)
        self._refused = self._refused or bool(series.reason)
        self._bytes += len(key) + len(series.indicator)
        return number

    def columns(self, numbers: NDArray[np.int64]) -> pl.DataFrame:
        """Return the columns of rows by their series: entity to identity, and `reason` if any is refused."""
        self._settle(len(numbers))
        frame = self._frame if self._refused else self._frame.drop("reason")
        return frame[numbers]

    def _settle(self, rows: int) -> None:
        """Take new series into the frame; put it in one piece again unless that costs more than it saves."""
        quiet = not self._new
        if self._new:
            columns = {name: [getattr(one, name) for one in self._new] for name in _SCHEMA}
            self._frame = self._frame.vstack(pl.DataFrame(columns, schema=_SCHEMA))
            self._new = []
        pieces = self._frame.n_chunks()
        if pieces > 1 and (quiet or pieces > _CHUNKS or self._frame.height < _WORTH_IT * rows):
            self._frame = self._frame.rechunk()
