"""Finds the series of remote-write 1.0 requests all at once, where each is just labels and one sample.

    0a <length> <labels> 12 10 09 <value> 10 <time>        or, of a value 0: ... 12 07 10 <time>

Nearly every request holds nothing else. Where samples of these two shapes seem to be is looked up in all bytes; if the
series that end there lie one behind the other from the beginning of a request to its end, each with the length that it
says it has, then they are what the request holds. Requests of which that is not so are read field by field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.types import Ints
from ingest.remote_write_tails import FULL_BYTES, ZERO_BYTES, ZERO_MARK

_SERIES: Final = 0x0A
_SAMPLE: Final = 0x12
_FULL: Final = 0x10  # how long a sample is that has a value
_VALUE: Final = 0x09


@dataclass(frozen=True, slots=True)
class Tiles:
    """Series in the order in which they lie.

    request     (N,) which request each is of
    label       (N,) where its labels begin
    sample      (N,) where they end, and its sample begins
    end         (N,) where that ends
    """

    request: Ints
    label: Ints
    sample: Ints
    end: Ints

    def of(self, requests: NDArray[np.bool_]) -> Tiles:
        """Return the series of some requests."""
        mine = requests[self.request]
        return self if mine.all() else Tiles(self.request[mine], self.label[mine], self.sample[mine], self.end[mine])


def tiles_of(data: bytes, bounds: Ints) -> tuple[Tiles, NDArray[np.bool_]]:
    """Return the series of requests that lie one behind the other, and which (R,) requests hold nothing else.

    `bounds` (R + 1,) are where requests begin, and where the last one ends. Series of other requests are left out.
    """
    raw = np.frombuffer(data, np.uint8)
    ends, sizes = _ends(raw)
    last = np.searchsorted(ends, bounds[1:])
    whole = (np.diff(bounds) > 0) & (last < len(ends))
    whole[whole] = ends[last[whole]] == bounds[1:][whole]
    request = np.searchsorted(bounds[1:], ends)
    inside = request < len(whole)
    ends, sizes, request = ends[inside], sizes[inside], request[inside]
    starts = np.r_[bounds[:1], ends[:-1]][: len(ends)]
    first = np.flatnonzero(np.r_[True, request[1:] != request[:-1]][: len(ends)])
    starts[first] = bounds[request[first]]
    label, fits = _labels(raw, starts, ends)
    sample = ends - sizes
    fits &= label < sample
    fits[fits] &= (raw[ends[fits] - 8] == ZERO_MARK) == (sizes[fits] == ZERO_BYTES)  # by which a sample is read
    whole[request[~fits]] = False
    return Tiles(request, label, sample, ends).of(whole), whole


def _ends(raw: NDArray[np.uint8]) -> tuple[Ints, Ints]:
    """Return where samples seem to end, and of how many bytes they are."""
    marks = np.flatnonzero(raw == _FULL)
    marks = marks[(marks > 1) & (marks < len(raw) - 1)]
    before = raw[marks - 1]
    full = (before == _SAMPLE) & (raw[marks + 1] == _VALUE)
    seen = full | ((before == ZERO_MARK) & (raw[marks - 2] == _SAMPLE))
    marks, full = marks[seen], full[seen]
    ends, sizes = np.where(full, marks + FULL_BYTES - 1, marks + ZERO_BYTES - 2), np.where(full, FULL_BYTES, ZERO_BYTES)
    if len(ends) and (np.diff(ends) <= 0).any():  # bytes of a value that look like a sample
        ends, at = np.unique(ends, return_index=True)
        sizes = sizes[at]
    return ends, sizes


def _labels(raw: NDArray[np.uint8], starts: Ints, ends: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Return where the labels of series begin, and which say themselves that they go from start to end."""
    inside = np.minimum(starts, max(len(raw) - 3, 0))
    low, high = raw[inside + 1].astype(np.int64), raw[inside + 2].astype(np.int64)
    long = low > 127
    label = starts + 2 + long
    size = np.where(long, low - 128 + (high << 7), low)
    return label, (raw[inside] == _SERIES) & ~(long & (high > 127)) & (label + size == ends)
