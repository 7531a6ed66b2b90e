"""prometheus-kafka-adapter: one sample a message, as JSON.

    {"timestamp":"1970-01-01T00:00:00Z","value":"9876543210","name":"up","labels":{"__name__":"up","job":"x"}}

The value is text and may be `NaN`, `+Inf` or `-Inf`: all three are rows whose value is NaN (present, without a usable
number), since an infinity in a mean would hide everything beside it. Times have whole seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import msgspec
import numpy as np
import polars as pl

from engine.ports import Decoded
from engine.schemas import Kind
from engine.types import Ints
from ingest.identity import Identity
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


@dataclass(frozen=True, slots=True)
class PrometheusAdapter:
    """Decodes samples; label sets are looked at once each.

    The indicator is the metric's name with the labels that say neither whom it is about nor how it was fetched:
    `http_requests_total{code="500",method="GET"}`.
    """

    name: ClassVar[str] = "prometheus-adapter"
    kind: ClassVar[Kind] = "metrics"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)
    _table: SeriesTable = field(default_factory=SeriesTable, init=False, compare=False, repr=False)
    _labels: MetricLabels = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_labels", MetricLabels(self.identity, self.scrubber))

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row a sample, and a dead letter for each message that is none."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        if self._table.full:
            self._table.clear()
        columns = self._columns(refused, len(bodies))
        numbers = columns.series()
        frame = pl.DataFrame([pl.Series("series", numbers), columns.at(), columns.ts_ms(), columns.value()])
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

    def _series(self, samples: Sequence[_Sample]) -> list[int]:
        """Return the numbers of the samples' series."""
        keys = [bytes(sample.labels) for sample in samples]
        found = list(map(self._table.numbers.get, keys))
        place = -1
        for _ in range(found.count(None)):
            place = found.index(None, place + 1)
            found[place] = self._number(keys[place], samples[place].name)
        return found  # type: ignore[return-value]

    def _number(self, key: bytes, name: str) -> int:
        """Return the number of a series, which is learned if it is new."""
        numbers = self._table.numbers
        known = numbers.get(key)
        if known is not None:
            return known
        labels = _labels_of(key)
        if labels is None or labels.get("__name__"):
            return self._table.add(key, self._labels.measured(labels) if labels else Measured(reason=NAMELESS))
        # The metric is named beside its labels (the adapter writes both): known by both together.
        key += b"\0" + name.encode("utf-8", "surrogatepass")
        known = numbers.get(key)
        if known is not None:
            return known
        return self._table.add(key, self._labels.measured({**labels, "__name__": name}))


class _Columns:
    """Samples in the making, some at a time: text becomes numbers at once, while it is in the caches."""

    __slots__ = ("_at", "_series", "_times", "_times_at", "_values")

    def __init__(self) -> None:
        self._at: list[Ints] = []
        self._series: list[Ints] = []
        self._times: dict[str, int] = {}  # a scrape has one time for all: each text is read once
        self._times_at: list[Ints] = []
        self._values: list[pl.Series] = []

    def add(self, at: Sequence[int], series: Sequence[int], samples: Sequence[_Sample]) -> None:
        """Add samples, given the positions of their messages and the numbers of their series."""
        self._at.append(np.array(at, np.int64))
        self._series.append(np.array(series, np.int64))
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
