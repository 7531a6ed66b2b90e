"""Prometheus' answers to `/api/v1/query_range`: a matrix of series, as JSON.

    {"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up"},"values":[[1755856800,"1"]]}]}}

Rows come in the order of their times, since an answer goes series by series and windows go by time. A series without
`__name__` (of an expression) is refused, and so is what is no number; NaN and infinities are rows whose value is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, ClassVar, Final

import msgspec
import numpy as np
import polars as pl

from engine.ports import Decoded
from engine.schemas import Kind, conform
from ingest.identity import Identity
from ingest.metric_labels import MetricLabels
from ingest.refused import Refused
from ingest.scrub import Scrubber
from ingest.times import OUTSIDE, sane

_COLUMNS: Final = ("entity", "indicator", "instance", "form", "reason")


class _Series(msgspec.Struct, gc=False):
    metric: dict[str, str]
    values: list[tuple[float, str]] = []
    histograms: list[Any] = []


class _Data(msgspec.Struct):
    resultType: str
    result: list[_Series]


class _Answer(msgspec.Struct):
    data: _Data


@dataclass(frozen=True, slots=True)
class PrometheusQueryRange:
    """Decodes matrices; label sets are looked at once an answer."""

    name: ClassVar[str] = "prometheus-query-range"
    kind: ClassVar[Kind] = "metrics"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row a value; native histograms are dropped."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        answers, at = refused.decoded(_DECODER.decode)
        for position, answer in zip(at, answers, strict=True):
            if answer.data.resultType != "matrix":
                refused.add(position, f"resultType is {answer.data.resultType[:20]!r}, not 'matrix'")
        frame = self._rows(answers, at)
        frame = refused.rows(frame, pl.col("reason") != "", "labels name no metric or are not text")
        frame = refused.rows(frame, pl.col("ts_ms").is_null(), OUTSIDE)
        frame = refused.rows(frame, pl.col("value").is_null(), "value is not a number")
        usable = pl.when(pl.col("value").is_infinite()).then(float("nan")).otherwise(pl.col("value"))
        frame = frame.with_columns(refused.offsets_of(frame["at"]), value=usable)
        histograms = sum(len(series.histograms) for answer in answers for series in answer.data.result)
        dropped = {"native histogram": histograms} if histograms else {}
        return Decoded(conform("metrics", frame), refused.letters(), dropped)

    def _rows(self, answers: Sequence[_Answer], at: Sequence[int]) -> pl.DataFrame:
        labels = MetricLabels(self.identity, self.scrubber)
        series = [one for answer in answers for one in answer.data.result]
        measured = [labels.measured(one.metric) for one in series]
        where = [position for position, answer in zip(at, answers, strict=True) for _ in answer.data.result]
        numbers = np.repeat(np.arange(len(series)), [len(one.values) for one in series])
        seconds = np.array([pair[0] for pair in chain.from_iterable(one.values for one in series)], np.float64)
        texts = pl.Series([pair[1] for one in series for pair in one.values], dtype=pl.String)
        said = pl.DataFrame(
            {
                "at": pl.Series(where, dtype=pl.Int64),
                **{name: pl.Series([getattr(m, name) for m in measured], dtype=pl.String) for name in _COLUMNS},
                "identity": pl.Series([one.identity for one in measured], dtype=pl.UInt64),
            }
        )
        times = pl.Series("ts_ms", np.rint(np.nan_to_num(seconds, nan=-1.0) * 1000)).cast(pl.Int64, strict=False)
        rows = said[numbers].with_columns(ts_ms=sane(times), value=texts.cast(pl.Float64, strict=False))
        return rows.sort("at", "ts_ms", maintain_order=True)


_DECODER: Final = msgspec.json.Decoder(_Answer)
