"""Reads the data points of OTLP metrics from protobuf: gauges and sums, the firehose.

SDKs and the Collector write a point's fields in the order of their numbers: start, time, value, then attributes. Points
of that shape cost a look-up of their attributes' bytes among those seen before; times and values are read all at once
at the end. Any other order and anything else in a point is read field by field.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from engine.types import Floats, Ints
from ingest.otlp_numbers import NOWHERE, nanos_to_ms, words_at
from ingest.otlp_requests import Bounds
from ingest.otlp_series import OtlpSeries, Stream
from ingest.otlp_values import attributes
from ingest.protobuf import double, fields, fixed64_key, length_key, sfixed64, varint_key

START: Final = fixed64_key(2)
TIME: Final = fixed64_key(3)
_DOUBLE: Final = fixed64_key(4)
_INT: Final = fixed64_key(6)
ATTRIBUTES: Final = length_key(7)
FLAGS: Final = varint_key(8)
_INT_BIT: Final = _INT ^ _DOUBLE  # the two keys of values differ in one bit

STALE: Final = "no recorded value"
"""Why a point is left out that says itself that it holds none: its stream has ended."""

NO_VALUE: Final = "a point has no value"


class Points:
    """Collects rows: the series of each, where its time is, and where its value is or what it is.

    `data` is what the requests of the batch lie in. A place below 0 in `places` stands for a computed value:
    `computed[~place]`. `odd` are rows that are none, as (message, reason).
    """

    __slots__ = ("at", "computed", "data", "dropped", "numbers", "odd", "places", "series", "times")

    def __init__(self, data: bytes, series: OtlpSeries) -> None:
        self.data = data
        self.series = series
        self.at: list[int] = []
        self.numbers: list[int] = []
        self.times: list[int] = []
        self.places: list[int] = []
        self.computed: list[float] = []
        self.dropped: list[str] = []
        self.odd: list[tuple[int, str]] = []

    @property
    def columns(self) -> tuple[list[Any], ...]:
        """Return all that is collected, to take back what a bad request gave."""
        return self.at, self.numbers, self.times, self.places, self.computed, self.dropped, self.odd

    def add(self, number: int, time_at: int, value: float) -> None:
        """Add a row with a computed value."""
        self.numbers.append(number)
        self.times.append(time_at)
        self.places.append(~len(self.computed))
        self.computed.append(value)

    def read(self, position: int, stream: Stream, bounds: Iterable[Bounds]) -> None:
        """Add the number points of a stream; raise Malformed where one is none."""
        data, prefix, known = self.data, stream.key, self.series.table.numbers
        numbers, times, places = self.numbers, self.times, self.places
        for a, b in bounds:
            at = a + 9 if b - a > 17 and data[a] == START else a
            if b - at > 17 and data[at] == TIME and data[at + 9] | _INT_BIT == _INT:
                number = known.get(prefix + data[at + 18 : b])
                if number is not None:
                    numbers.append(number)
                    times.append(at + 1)
                    places.append(at + 10)
                    continue
            self._read_odd(position, stream, a, b)

    def times_ms(self) -> Ints:
        """Return (N,) the rows' times in Unix milliseconds, 0 where there is none."""
        return nanos_to_ms(words_at(self.data, self.times))

    def values(self) -> Floats:
        """Return (N,) the rows' values."""
        places = np.asarray(self.places, dtype=np.int64)
        words = words_at(self.data, places)
        if not len(places):
            return np.empty(0)
        keys = np.frombuffer(self.data, np.uint8)[np.maximum(places - 1, 0)]
        values = np.where(keys == _INT, words.view(np.int64).astype(np.float64), words.view(np.float64))
        if self.computed:
            values = np.where(places < 0, np.asarray(self.computed)[np.where(places < 0, ~places, 0)], values)
        return values

    def _read_odd(self, position: int, stream: Stream, start: int, end: int) -> None:
        """Add a point that is not in the usual order, or of which the attributes are new, or that is none."""
        data = self.data
        time_at, value, flags = NOWHERE, None, 0
        own: list[Bounds] = []
        for key, a, b in fields(data, start, end):
            if key == TIME:
                time_at = a
            elif key == _DOUBLE:
                value = double(data, a)
            elif key == _INT:
                value = float(sfixed64(data, a))
            elif key == ATTRIBUTES:
                own.append((a, b))
            elif key == FLAGS:
                flags = a
        if flags & 1:
            self.dropped.append(STALE)
        elif value is None:
            self.odd.append((position, NO_VALUE))
        else:
            key_bytes = stream.key + canonical(data, own, ATTRIBUTES)
            number = self.series.table.numbers.get(key_bytes)
            if number is None:
                number = self.series.number(stream, key_bytes, attributes(data, own))
            self.add(number, time_at, value)


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
