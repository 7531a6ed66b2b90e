"""Puts rows of metrics together whose series are numbers.

Until all of them are there, their offsets are the positions of their messages in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from engine.numbered import NUMBERED, Numbered, Rows, SeriesNames, expanded
from engine.types import Floats, Ints


def numbered(names: SeriesNames, numbers: Ints, positions: Ints, ts_ms: Ints, values: Floats) -> Numbered:
    """Return rows; a value that is infinite becomes NaN."""
    usable = np.isfinite(values)
    value = values if usable.all() else np.where(usable, values, np.nan)
    columns = (ts_ms, positions, value, numbers.astype(np.uint32))
    return Numbered(pl.DataFrame(list(map(pl.Series, NUMBERED, columns))), names)


def together(parts: Sequence[Rows]) -> Rows:
    """Return rows in the order of their messages; with all of their columns where their numbers mean different things.

    Parts of one message are in their order, and there is at least one part.
    """
    if len(parts) == 1:
        return parts[0]
    same = [part for part in parts if isinstance(part, Numbered)]
    if len(same) == len(parts) and len({part.names.generation for part in same}) == 1:
        frame = pl.concat([part.frame for part in same])
        return Numbered(_sorted(frame), max((part.names for part in same), key=lambda one: one.frame.height))
    return _sorted(pl.concat([expanded(part) for part in parts]))


def with_offsets(rows: Rows, offsets: Sequence[int]) -> Rows:
    """Return rows with the offsets of their messages in place of the positions."""
    frame = rows.frame if isinstance(rows, Numbered) else rows
    given = offsets_of(offsets)[frame["offset"].to_numpy()]
    frame = frame.with_columns(pl.Series("offset", given))
    return replace(rows, frame=frame) if isinstance(rows, Numbered) else frame


def offsets_of(offsets: Sequence[int]) -> Ints:
    """Return offsets as an array."""
    if isinstance(offsets, range):
        return np.arange(offsets.start, offsets.stop, offsets.step)
    return np.asarray(offsets, np.int64)


def _sorted(frame: pl.DataFrame) -> pl.DataFrame:
    return frame if frame["offset"].is_sorted() else frame.sort("offset", maintain_order=True)
