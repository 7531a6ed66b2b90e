"""prometheus-kafka-adapter: one sample a message, as JSON.

    {"timestamp":"1970-01-01T00:00:00Z","value":"9876543210","name":"up","labels":{"__name__":"up","job":"x"}}

The value is text and may be `NaN`, `+Inf` or `-Inf`: all three are rows whose value is NaN (present, without a usable
number), since an infinity in a mean would hide everything beside it. Times have whole seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
import polars as pl

from engine.ports import Decoded
from engine.schemas import Kind, conform
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

    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)
    _table: SeriesTable = field(default_factory=SeriesTable, init=False, compare=False, repr=False)
    _labels: MetricLabels = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_labels", MetricLabels(self.identity, self.scrubber))

    @property
    def name(self) -> str:
        """Return the format's name."""
        return "prometheus-adapter"

    @property
    def kind(self) -> Kind:
        """Return the kind of its rows."""
        return "metrics"

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row a sample, and a dead letter for each message that is none."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        if self._table.full:
            self._table.clear()
        columns = self._columns(refused, len(bodies))
        frame = self._table.columns(np.array(columns.series, np.int64)).hstack(
            [pl.Series("at", columns.at, pl.Int64), _times(columns.times), _numbers(columns.values)]
        )
        if "reason" in frame.columns:
            frame = refused.where(frame, pl.col("reason") != "", NAMELESS)
        if frame["ts_ms"].has_nulls():
            frame = refused.where(frame, pl.col("ts_ms").is_null(), OUTSIDE)
        if frame["value"].has_nulls():
            frame = refused.where(frame, pl.col("value").is_null(), "value is not a number")
        value = frame["value"].to_numpy()
        usable = pl.Series("value", np.where(np.isfinite(value), value, np.nan))
        frame = frame.drop("value").hstack([refused.offsets_of(frame["at"]), usable])
        return Decoded(conform("metrics", frame), refused.letters())

    def _columns(self, refused: Refused, messages: int) -> _Columns:
        columns = _Columns()
        for start in range(0, messages, _AT_ONCE):
            samples, at = refused.decoded(_DECODER.decode, start, start + _AT_ONCE)
            columns.at += at
            columns.series += self._series(samples)
            columns.times += [sample.timestamp for sample in samples]
            columns.values += [sample.value for sample in samples]
        return columns

    def _series(self, samples: Sequence[_Sample]) -> list[int]:
        """Return the numbers of the samples' series."""
        keys = [bytes(sample.labels) for sample in samples]
        found = list(map(self._table.numbers.get, keys))
        if None not in found:
            return found  # type: ignore[return-value]
        return [
            self._number(key, sample.name) if number is None else number
            for number, key, sample in zip(found, keys, samples, strict=True)
        ]

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
    """Samples in the making: position of the message, number of the series, time and value as they were sent."""

    __slots__ = ("at", "series", "times", "values")

    def __init__(self) -> None:
        self.at: list[int] = []
        self.series: list[int] = []
        self.times: list[str] = []
        self.values: list[str | float | int] = []


def _labels_of(key: bytes) -> dict[str, str] | None:
    """Return labels, or None where they are not texts."""
    try:
        return _LABELS.decode(key)
    except UNREADABLE:
        return None


def _times(texts: Sequence[str]) -> pl.Series:
    """Return `ts_ms`, null where unreadable; each text is read once, since a scrape has one time for all."""
    distinct = list(dict.fromkeys(texts))
    read = dict(zip(distinct, rfc3339_ms(pl.Series(distinct, dtype=pl.String)).to_list(), strict=True))
    return pl.Series("ts_ms", list(map(read.get, texts)), pl.Int64)


def _numbers(values: Sequence[str | float | int]) -> pl.Series:
    """Return `value`, of texts or (not by the adapter itself) of numbers; null where they are none."""
    texts = values if set(map(type, values)) == {str} else [str(value) for value in values]
    return pl.Series("value", texts, pl.String).cast(pl.Float64, strict=False)


_DECODER: Final = msgspec.json.Decoder(_Sample)
_LABELS: Final = msgspec.json.Decoder(dict[str, str])
