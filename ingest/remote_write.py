"""What the two versions of Prometheus remote-write share: samples, native histograms, labels, and rows in the making.

Sources: prompb/types.proto and prompb/io/prometheus/write/v2/types.proto of Prometheus 3.5, and the specifications at
https://prometheus.io/docs/specs/prw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.types import Ints
from ingest.metric_labels import Measured, MetricLabels
from ingest.protobuf import MASK_32, fields, fixed64_key, int64, varint_key
from ingest.series_table import SeriesTable

STALE_BITS: Final = 0x7FF0000000000002
"""The NaN by which Prometheus says that a series has ended; any other NaN is a value."""

MAX_ROWS: Final = 500_000
"""What one request may hold; senders send some thousands, and what is remembered of new series must stay bounded."""

TOO_MANY: Final = f"remote-write: holds more than {MAX_ROWS:,} samples"

_VALUE: Final = fixed64_key(1)
_TIME: Final = varint_key(2)

_COUNT_INT: Final = varint_key(1)
_COUNT_FLOAT: Final = fixed64_key(2)
_SUM: Final = fixed64_key(3)
_RESET_HINT: Final = varint_key(14)
_HISTOGRAM_TIME: Final = varint_key(15)
_GAUGE: Final = 3  # the hint of a histogram that may fall

_U64: Final = Struct("<Q")
_F64: Final = Struct("<d")

Pairs = Sequence[tuple[bytes, bytes]]
Sample = tuple[int, int]
"""A time in Unix milliseconds and the 64 bits of a value."""


class Series:
    """Series by what they are known by on the wire; a new one is learned."""

    __slots__ = ("_labels", "table")

    def __init__(self, labels: MetricLabels) -> None:
        self._labels = labels
        self.table = SeriesTable()

    def number(self, key: bytes, pairs: Callable[[], Pairs], form: str = "", suffix: str = "") -> int:
        """Return the number of a series, whose name gets `suffix`; `pairs` is asked for its labels if it is new."""
        known = self.table.numbers.get(key)
        return self.table.number_of(key, lambda: self._measured(pairs(), form, suffix)) if known is None else known

    def _measured(self, pairs: Pairs, form: str, suffix: str) -> Measured:
        reason = problem_of(pairs)
        if reason:
            return Measured(reason=reason)
        try:
            labels = {name.decode(): value.decode() for name, value in pairs}
        except UnicodeDecodeError:
            return Measured(reason="a label is not UTF-8")
        if suffix and labels.get("__name__"):
            labels["__name__"] += suffix
        return self._labels.measured(labels, form)


class Collected:
    """Rows of one request in the making, in their order: the number of each one's series, and where its sample is.

    Most samples are read from the request all at once (`remote_write_tails`); the odd ones are given one by one.
    """

    __slots__ = ("ends", "numbers", "odd")

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.ends: list[int] = []  # where the row's sample ends in the request; 0 if it is odd
        self.odd: list[tuple[int, Sample]] = []  # row and sample

    def add(self, number: int, sample: Sample) -> None:
        """Add a row with an odd sample."""
        self.odd.append((len(self.numbers), sample))
        self.numbers.append(number)
        self.ends.append(0)

    def add_histogram(
        self, series: Series, key: bytes, pairs: Callable[[], Pairs], body: bytes, a: int, b: int
    ) -> None:
        """Add the two rows of a native histogram: how many were observed, and their sum."""
        count, total, form = histogram_of(body, a, b)
        self.add(series.number(b"_count" + form + key, pairs, form.decode(), "_count"), count)
        self.add(series.number(b"_sum" + form + key, pairs, form.decode(), "_sum"), total)


def problem_of(pairs: Pairs) -> str:
    """Return why labels cannot be used, "" if they can."""
    names = [name for name, _ in pairs]
    if b"" in names:
        return "a label has no name"
    if len(set(names)) < len(names):
        return "a label is named twice"
    if names != sorted(names):
        return "labels are not sorted by name"
    return ""


def sample_of(body: bytes, a: int, b: int) -> Sample:
    """Return a sample; what is left out is 0."""
    bits = time = 0
    for key, start, _ in fields(body, a, b):
        if key == _VALUE:
            bits = _U64.unpack_from(body, start)[0]
        elif key == _TIME:
            time = int64(start)
    return time, bits


def histogram_of(body: bytes, a: int, b: int) -> tuple[Sample, Sample, bytes]:
    """Return count and sum of a native histogram, and the form of both. Its buckets are left out."""
    count, total, time, form = 0.0, 0, 0, b"counter"
    for key, start, _ in fields(body, a, b):
        if key == _COUNT_INT:
            count = float(start)
        elif key == _COUNT_FLOAT:
            count = _F64.unpack_from(body, start)[0]
        elif key == _SUM:
            total = _U64.unpack_from(body, start)[0]
        elif key == _RESET_HINT:
            form = b"gauge" if start & MASK_32 == _GAUGE else b"counter"
        elif key == _HISTOGRAM_TIME:
            time = int64(start)
    counted = STALE_BITS if total == STALE_BITS else _U64.unpack(_F64.pack(count))[0]
    return (time, counted), (time, total), form


def with_odd(collected: Collected, ts_ms: Ints, bits: NDArray[np.uint64]) -> tuple[Ints, NDArray[np.uint64]]:
    """Return the columns of all rows, given those of the rows that are not odd."""
    if not collected.odd:
        return ts_ms, bits
    regular = np.asarray(collected.ends) > 0
    all_ms, all_bits = np.empty(len(regular), np.int64), np.empty(len(regular), np.uint64)
    all_ms[regular], all_bits[regular] = ts_ms, bits
    rows = [row for row, _ in collected.odd]
    all_ms[rows] = [time for _, (time, _) in collected.odd]
    all_bits[rows] = np.array([value for _, (_, value) in collected.odd], np.uint64)
    return all_ms, all_bits
