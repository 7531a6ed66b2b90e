"""OTLP metrics: one `ExportMetricsServiceRequest` (`MetricsData`) a message, protobuf or JSON; over HTTP, gRPC, Kafka.

| OTLP | row's form |
|---|---|
| gauge, sum that may fall | gauge |
| cumulative monotonic sum; histogram and summary as `_count`, `_sum`, `_bucket{le}` | counter |
| the same with delta temporality | delta |
| quantiles of a summary | gauge |

Units are not put into names. Dropped and counted: points that say that they hold no value, and deltas of sums that may
fall, since nobody knows the level that they change. An infinity is present without a usable number, as with Prometheus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import numpy as np

from engine.ports import Decoded
from engine.schemas import Kind
from ingest.identity import Identity
from ingest.metric_labels import MetricLabels
from ingest.numbered_rows import with_offsets
from ingest.otlp_histograms import EXPONENTIAL, HISTOGRAM, SUMMARY, Shape, read_histograms
from ingest.otlp_layouts import Layouts
from ingest.otlp_points import Points
from ingest.otlp_requests import Bounds, Items, Request, items_in, opened, read_each, resources_of
from ingest.otlp_series import OtlpSeries, stream_of
from ingest.protobuf import fields, length_key, text, varint_key
from ingest.refused import Refused
from ingest.scrub import Scrubber

_NAME: Final = length_key(1)
_GAUGE: Final = length_key(5)
_SUM: Final = length_key(7)
_SHAPES: Final = {length_key(9): HISTOGRAM, length_key(10): EXPONENTIAL, length_key(11): SUMMARY}
_POINTS: Final = length_key(1)
_TEMPORALITY: Final = varint_key(2)
_MONOTONIC: Final = varint_key(3)
_DELTA: Final = 1

LEVELLESS: Final = "delta of a sum that may fall"
NAMELESS: Final = "a metric has no name"


@dataclass(frozen=True, slots=True)
class OtlpMetrics:
    """Decodes samples; resources and attribute sets are looked at once each."""

    name: ClassVar[str] = "otlp-metrics"
    kind: ClassVar[Kind] = "metrics"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)
    _series: OtlpSeries = field(init=False, compare=False, repr=False)
    _layouts: Layouts = field(default_factory=Layouts, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_series", OtlpSeries(MetricLabels(self.identity, self.scrubber)))

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return the rows of all points; refuse messages that are no request, else the points that are none."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        data, requests = opened(bodies, "metrics", refused)
        if self._series.make_room():
            self._layouts.clear()
        points = Points(data, self._series)

        def read(request: Request) -> None:
            resources = list(resources_of(data, request))
            if not self._layouts.read_all(points, resources):
                for a, b in resources:
                    self._read(points, request.position, a, b)
            points.at.extend([request.position] * (len(points.numbers) - len(points.at)))

        read_each(requests, refused, read, *points.columns)
        for position, reason in points.odd:
            refused.add_rows(position, reason)
        columns = (np.asarray(points.numbers), np.asarray(points.at), points.times_ms(), points.values())
        rows = self._series.table.sane(*columns, refused)
        return Decoded(with_offsets(rows, offsets), refused.letters(), Counter(points.dropped))

    def _read(self, points: Points, position: int, start: int, end: int) -> None:
        key = self._layouts.read(points, start, end)
        if key is None:
            return
        first, odd, known = len(points.numbers), len(points.odd) + len(points.dropped), self._series.table.height
        for items in items_in(points.data, start, end):
            _read_scope(points, position, items)
        if key and odd == len(points.odd) + len(points.dropped):
            self._layouts.learn(key, points, start, end, first, self._series.table.height > known)


def _read_scope(points: Points, position: int, items: Items) -> None:
    for a, b in items.bounds:
        name, type_, content = "", 0, (0, 0)
        for key, x, y in fields(points.data, a, b):
            if key == _NAME:
                name = text(points.data, x, y)
            elif key in (_GAUGE, _SUM) or key in _SHAPES:
                type_, content = key, (x, y)
        _read_metric(points, position, items, name, type_, content)


def _read_metric(points: Points, position: int, items: Items, name: str, type_: int, content: Bounds) -> None:
    bounds: list[Bounds] = []
    temporality = monotonic = 0
    for key, a, b in fields(points.data, *content):
        if key == _POINTS:
            bounds.append((a, b))
        elif key == _TEMPORALITY:
            temporality = a
        elif key == _MONOTONIC:
            monotonic = a
    shape = _SHAPES.get(type_)
    form = _form(type_, shape, temporality == _DELTA, bool(monotonic))
    if not name:
        points.odd += [(position, NAMELESS)] * len(bounds)
    elif not form:
        points.dropped += [LEVELLESS] * len(bounds)
    elif shape is None:
        points.read(position, stream_of(items.resource, items.scope, name, form), bounds)
    else:
        read_histograms(points, position, stream_of(items.resource, items.scope, name, form), bounds, shape)


def _form(type_: int, shape: Shape | None, delta: bool, monotonic: bool) -> str:
    """Return a metric's form, "" where it has none."""
    if shape is None and not (type_ == _SUM and monotonic):
        return "" if type_ == _SUM and delta else "gauge"
    return "delta" if delta else "counter"
