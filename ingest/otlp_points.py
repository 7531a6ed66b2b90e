"""Reads the data points of OTLP metrics from protobuf: gauges and sums, the firehose.

SDKs and the Collector write a point's fields in the order of their numbers: start, time, value, then attributes. Points
of that shape cost a look-up of their attributes' bytes among those seen before; times and values are read all at once
at the end. Any other order and anything else in a point is read field by field.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.types import Floats, Ints
from ingest.otlp_numbers import NOWHERE, nanos_to_ms, words_at
from ingest.otlp_requests import Bounds
from ingest.otlp_series import OtlpSeries, Stream
from ingest.otlp_values import attributes
from ingest.protobuf import fields, fixed64_key, length_key, varint_key

START: Final = fixed64_key(2)
TIME: Final = fixed64_key(3)
_DOUBLE: Final = fixed64_key(4)
_INT: Final = fixed64_key(6)
_ATTRIBUTES: Final = length_key(7)
_FLAGS: Final = varint_key(8)

DOUBLE, INT, COUNT, BUCKET = 0, 1, 2, 3
"""How the 8 bytes of a value are read; a BUCKET's count is added to that of the row before."""

_INT_BIT: Final = _INT ^ _DOUBLE  # the keys of the two kinds of values differ in one bit
_SHIFT: Final = 4  # by which that bit becomes DOUBLE or INT

STALE: Final = "no recorded value"
"""Why a point is left out that says itself that it holds none: its stream has ended."""

NO_VALUE: Final = "a point has no value"


class Points:
    """Collects rows: the series of each, where its time is, and where its value is and how to read it.

    `data` is what the requests of the batch lie in, `codes` are `code_of` a place in it. `odd` are points that are
    refused, as (message, reason), `dropped` why others were left out.
    """

    __slots__ = ("at", "codes", "data", "dropped", "numbers", "odd", "series", "times")

    def __init__(self, data: bytes, series: OtlpSeries) -> None:
        self.data = data
        self.series = series
        self.at = array("q")
        self.numbers = array("q")
        self.times = array("q")
        self.codes = array("q")
        self.dropped: list[str] = []
        self.odd: list[tuple[int, str]] = []

    @property
    def columns(self) -> tuple[Any, ...]:
        """Return all that is collected, to take back what a bad request gave."""
        return self.at, self.numbers, self.times, self.codes, self.dropped, self.odd

    def add(self, number: int, time_at: int, place: int, kind: int) -> None:
        """Add a row; a place is NOWHERE where what should be there is 0."""
        self.numbers.append(number)
        self.times.append(time_at)
        self.codes.append(code_of(place, kind))

    def add_many(self, numbers: Ints, times: Ints, codes: Ints) -> None:
        """Add rows."""
        self.numbers.frombytes(numbers.tobytes())
        self.times.frombytes(times.tobytes())
        self.codes.frombytes(codes.tobytes())

    def read(self, position: int, stream: Stream, bounds: Iterable[Bounds]) -> None:
        """Add the number points of a stream; raise Malformed where one is none."""
        data, prefix, known = self.data, stream.key, self.series.table.numbers
        numbers, times, codes = self.numbers, self.times, self.codes
        for a, b in bounds:
            at = a + 9 if b - a > 17 and data[a] == START else a
            if b - at > 17 and data[at] == TIME and data[at + 9] | _INT_BIT == _INT:
                number = known.get(prefix + data[at + 18 : b])
                if number is not None:
                    numbers.append(number)
                    times.append(at + 1)
                    codes.append((at + 10) << 3 | data[at + 9] >> _SHIFT & 1)
                    continue
            self._read_odd(position, stream, a, b)

    def times_ms(self) -> Ints:
        """Return (N,) the rows' times in Unix milliseconds, 0 where there is none."""
        return nanos_to_ms(words_at(self.data, np.asarray(self.times)))

    def values(self) -> Floats:
        """Return (N,) the rows' values."""
        codes = np.asarray(self.codes, dtype=np.int64)
        kinds, words = codes & 7, words_at(self.data, codes >> 3)
        values = np.where(kinds == INT, words.view(np.int64).astype(np.float64), words.view(np.float64))
        if (kinds >= COUNT).any():
            values = np.where(kinds >= COUNT, _added_up(words, kinds).astype(np.float64), values)
        return values

    def _read_odd(self, position: int, stream: Stream, start: int, end: int) -> None:
        """Add a point that is not in the usual order, or of which the attributes are new, or that is none."""
        data = self.data
        time_at = place = NOWHERE
        kind = flags = 0
        own: list[Bounds] = []
        for key, a, b in fields(data, start, end):
            if key == TIME:
                time_at = a
            elif key in (_DOUBLE, _INT):
                place, kind = a, INT if key == _INT else DOUBLE
            elif key == _ATTRIBUTES:
                own.append((a, b))
            elif key == _FLAGS:
                flags = a
        if flags & 1:
            self.dropped.append(STALE)
        elif place == NOWHERE:
            self.odd.append((position, NO_VALUE))
        else:
            known = stream.key + canonical(data, own, _ATTRIBUTES)
            number = self.series.table.numbers.get(known)
            if number is None:
                number = self.series.number(stream, known, attributes(data, own))
            self.add(number, time_at, place, kind)


def code_of(place: int, kind: int) -> int:
    """Return place and kind of a value as one number."""
    return place << 3 | kind


def canonical(data: bytes, bounds: Sequence[Bounds], key: int) -> bytes:
    """Return the fields at these places as the usual encoder writes them one after another."""
    return b"".join([bytes((key,)) + _length(b - a) + data[a:b] for a, b in bounds])


def _length(size: int) -> bytes:
    out = bytearray()
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    out.append(size)
    return bytes(out)


def _added_up(words: NDArray[np.uint64], kinds: Ints) -> NDArray[np.uint64]:
    """Return counts, those of BUCKETs with all of their run before them added."""
    counts = np.where(kinds >= COUNT, words, np.uint64(0))
    sums = np.cumsum(counts)
    starts = np.flatnonzero(kinds != BUCKET)  # the first row is never a BUCKET
    before = sums[starts] - counts[starts]
    return np.asarray(sums - np.repeat(before, np.diff(np.r_[starts, len(kinds)])))
