"""Reads numbers of fixed size out of many places of one stretch of bytes at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

NOWHERE: Final = -1
"""The place of a number that is not there: it is read as 0."""


def words_at(data: bytes, places: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the 8 bytes at each place as an unsigned number, 0 where the place is NOWHERE."""
    at = np.asarray(places, dtype=np.int64)
    if len(data) < 8:
        return np.zeros(len(at), np.uint64)
    # every byte begins a word: no copy of the data, and the words need not be aligned
    words = np.ndarray((len(data) - 7,), "<u8", data, 0, (1,))
    return np.where(at < 0, np.uint64(0), words[np.maximum(at, 0)])


def nanos_to_ms(nanos: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return nanoseconds as milliseconds (finer parts are cut)."""
    return (nanos // np.uint64(1_000_000)).astype(np.int64)
