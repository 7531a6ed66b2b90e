"""Reads samples of the adapter as any JSON: what `adapter_shapes` does not recognise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec
import numpy as np
import polars as pl

from engine.ports import Decoded
from engine.schemas import Kind
from engine.types import Ints
from ingest.metric_labels import NAMELESS, Measured, MetricLabels
from ingest.refused import UNREADABLE, Refused
from ingest.scrub import Scrubber
from ingest.series_table import SeriesTable
from ingest.times import OUTSIDE, rfc3339_ms

_AT_ONCE: Final = 2_000  # what fits into the caches of a core together


class _Sample(msgspec.Struct, gc=False):
    timestamp: str
    value: str | float | int
    labels: msgspec.Raw
    name: str = ""


class Samples:
    """Decodes one sample a record; label sets are looked at once each.

    `came` are the positions (`offsets`) and series of all that were read since it was emptied.
    """

    name: ClassVar[str] = "prometheus-adapter"
    kind: ClassVar[Kind] = "metrics"

    def __init__(self, labels: MetricLabels, scrubber: Scrubber, table: SeriesTable) -> None:
        self._labels = labels
        self._scrubber = scrubber
        self._table = table
        self.came: list[tuple[Ints, Ints]] = []

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row a sample, and a dead letter for each record that is none."""
        refused = Refused(bodies, offsets, input, self._scrubber)
        columns = self._columns(refused, len(bodies))
        numbers = columns.series()
        frame = pl.DataFrame([pl.Series("series", numbers), columns.at(), columns.ts_ms(), columns.value()])
        self.came.append((refused.offsets_of(frame["at"]).to_numpy(), numbers))
        reasons = self._table.reasons(numbers)
        if reasons is not None:
            frame = refused.where(frame.hstack([reasons]), pl.col("reason") != "", NAMELESS)
        if frame["ts_ms"].has_nulls():
            frame = refused.where(frame, pl.col("ts_ms").is_null(), OUTSIDE)
        if frame["value"].has_nulls():
            frame = refused.where(frame, pl.col("value").is_null(), "value is not a number")
        value = frame["value"].to_numpy()
        usable = pl.Series("value", np.where(np.isfinite(value), value, np.nan))
        frame = frame.drop("value").hstack([refused.offsets_of(frame["at"]), usable])
        return Decoded(self._table.rows(frame), refused.letters())

    def _columns(self, refused: Refused, messages: int) -> _Columns:
        columns = _Columns()
        for start in range(0, messages, _AT_ONCE):
            samples, at = refused.decoded(_DECODER.decode, start, start + _AT_ONCE)
            columns.add(at, self._series(samples), samples)
        return columns

    def _series(self, samples: Sequence[_Sample]) -> Ints:
        """Return the numbers of the samples' series: known by their labels as written, and by the name beside them."""
        keys = [b"%b\0%b" % (bytes(one.labels), one.name.encode("utf-8", "surrogatepass")) for one in samples]
        return self._table.numbers_of(keys, lambda place: self._measured(samples[place]))

    def _measured(self, sample: _Sample) -> Measured:
        labels = _labels_of(bytes(sample.labels))
        if not labels:
            return Measured(reason=NAMELESS)
        return self._labels.measured(labels if labels.get("__name__") else {**labels, "__name__": sample.name})


class _Columns:
    """Samples in the making, some at a time: text becomes numbers at once, while it is in the caches."""

    __slots__ = ("_at", "_series", "_times", "_times_at", "_values")

    def __init__(self) -> None:
        self._at: list[Ints] = []
        self._series: list[Ints] = []
        self._times: dict[str, int] = {}  # a scrape has one time for all: each text is read once
        self._times_at: list[Ints] = []
        self._values: list[pl.Series] = []

    def add(self, at: Sequence[int], series: Ints, samples: Sequence[_Sample]) -> None:
        """Add samples, given the positions of their messages and the numbers of their series."""
        self._at.append(np.array(at, np.int64))
        self._series.append(series)
        self._times_at.append(self._numbered([sample.timestamp for sample in samples]))
        self._values.append(_numbers([sample.value for sample in samples]))

    def _numbered(self, texts: Sequence[str]) -> Ints:
        times = self._times
        for text in dict.fromkeys(texts):
            times.setdefault(text, len(times))
        return np.array(list(map(times.get, texts)), np.int64)

    def series(self) -> Ints:
        """Return the numbers of the series."""
        return _joined(self._series)

    def at(self) -> pl.Series:
        """Return `at`, the positions of the messages."""
        return pl.Series("at", _joined(self._at))

    def ts_ms(self) -> pl.Series:
        """Return `ts_ms`, null where unreadable."""
        read = rfc3339_ms(pl.Series("ts_ms", list(self._times), pl.String))
        return read.gather(_joined(self._times_at))

    def value(self) -> pl.Series:
        """Return `value`, null where it is no number."""
        return pl.concat([pl.Series("value", [], pl.Float64), *self._values], rechunk=True)


def _joined(parts: Sequence[Ints]) -> Ints:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _labels_of(key: bytes) -> dict[str, str] | None:
    """Return labels, or None where they are not texts."""
    try:
        return _LABELS.decode(key)
    except UNREADABLE:
        return None


def _numbers(values: Sequence[str | float | int]) -> pl.Series:
    """Return `value`, of texts or (not by the adapter itself) of numbers; null where they are none."""
    texts = values if set(map(type, values)) == {str} else [str(value) for value in values]
    return pl.Series("value", texts, pl.String).cast(pl.Float64, strict=False)


_DECODER: Final = msgspec.json.Decoder(_Sample)
_LABELS: Final = msgspec.json.Decoder(dict[str, str])
