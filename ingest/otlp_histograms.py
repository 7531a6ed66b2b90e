"""Reads the histograms and summaries of OTLP metrics, as the series that Prometheus would make of them.

    latency  ->  latency_count, latency_sum, latency_bucket{le="0.5"} ...   counters; buckets count up to their bound
    latency  ->  latency_count, latency_sum, latency{quantile="0.99"} ...   of a summary; quantiles are gauges

Of an exponential histogram count and sum are taken: its buckets move with the data, and would be new series each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from struct import unpack
from typing import Final

from ingest.otlp_numbers import NOWHERE
from ingest.otlp_points import BUCKET, COUNT, DOUBLE, STALE, TIME, Points, canonical
from ingest.otlp_requests import Bounds
from ingest.otlp_series import Stream
from ingest.otlp_values import attributes
from ingest.protobuf import Malformed, double, fields, fixed64_key, length_key, varint_key

_COUNT: Final = fixed64_key(4)
_SUM: Final = fixed64_key(5)
_BUCKETS: Final = (length_key(6), fixed64_key(6))  # packed, or one by one
_BOUNDS: Final = (length_key(7), fixed64_key(7))
_QUANTILES: Final = length_key(6)
_QUANTILE: Final = fixed64_key(1)
_VALUE: Final = fixed64_key(2)

UNEVEN: Final = "a histogram's counts do not fit its bounds"


@dataclass(frozen=True, slots=True)
class Shape:
    """Which fields hold attributes and flags, and whether field 6 holds buckets or quantiles: it differs by type."""

    attributes: int
    flags: int
    buckets: tuple[int, ...] = ()
    bounds: tuple[int, ...] = ()
    quantiles: int = 0


HISTOGRAM: Final = Shape(length_key(9), varint_key(10), _BUCKETS, _BOUNDS)
EXPONENTIAL: Final = Shape(length_key(1), varint_key(10))
SUMMARY: Final = Shape(length_key(7), varint_key(8), quantiles=_QUANTILES)


@dataclass(slots=True)
class _Point:
    time_at: int = NOWHERE
    count_at: int = NOWHERE
    total_at: int = NOWHERE
    flags: int = 0
    buckets: list[int] = field(default_factory=list)  # places
    bounds: bytes = b""
    own: list[Bounds] = field(default_factory=list)
    quantiles: list[tuple[float, int]] = field(default_factory=list)  # and the places of their values


def read_histograms(points: Points, position: int, stream: Stream, bounds: Iterable[Bounds], shape: Shape) -> None:
    """Add the rows of a stream's points; raise Malformed where one is none."""
    for a, b in bounds:
        point = _point(points.data, a, b, shape)
        if point.flags & 1:
            points.dropped.append(STALE)
        elif point.buckets and 8 * len(point.buckets) != len(point.bounds) + 8:
            points.odd.append((position, UNEVEN))
        else:
            _add(points, stream, point, shape)


def _point(data: bytes, start: int, end: int, shape: Shape) -> _Point:
    point = _Point()
    for key, a, b in fields(data, start, end):
        if key == TIME:
            point.time_at = a
        elif key == _COUNT:
            point.count_at = a
        elif key == _SUM:
            point.total_at = a
        elif key == shape.attributes:
            point.own.append((a, b))
        elif key == shape.flags:
            point.flags = a
        elif key in shape.buckets:
            point.buckets += range(a, _whole(a, b), 8)
        elif key in shape.bounds:
            point.bounds += data[a : _whole(a, b)]
        elif key == shape.quantiles:
            point.quantiles.append(_quantile(data, a, b))
    return point


def _whole(a: int, b: int) -> int:
    """Return where a packed field ends, of numbers of 8 bytes."""
    if (b - a) % 8:
        raise Malformed("protobuf: a packed field is cut off")
    return b


def _quantile(data: bytes, start: int, end: int) -> tuple[float, int]:
    quantile, value_at = 0.0, NOWHERE
    for key, a, _ in fields(data, start, end):
        if key == _QUANTILE:
            quantile = double(data, a)
        elif key == _VALUE:
            value_at = a
    return quantile, value_at


def _add(points: Points, stream: Stream, point: _Point, shape: Shape) -> None:
    values = [(point.count_at, COUNT)]
    values += [(place, BUCKET if number else COUNT) for number, place in enumerate(point.buckets)]
    values += [(place, DOUBLE) for _, place in point.quantiles]
    if point.total_at != NOWHERE:
        values.append((point.total_at, DOUBLE))
    for number, (place, kind) in zip(_numbers(points, stream, point, shape), values, strict=True):
        points.add(number, point.time_at, place, kind)


def _numbers(points: Points, stream: Stream, point: _Point, shape: Shape) -> tuple[int, ...]:
    """Return the series of a point's values: count, buckets, quantiles, sum where there is one."""
    own = canonical(points.data, point.own, shape.attributes)
    quantiles = ",".join(_number_text(quantile) for quantile, _ in point.quantiles)
    total = b"" if point.total_at == NOWHERE else b"sum"
    parts = (own, point.bounds if point.buckets else b"-", quantiles.encode(), total)
    group = stream.key + b"".join([b"%d:%b" % (len(part), part) for part in parts])
    known = points.series.groups.get(group)
    if known is None:
        known = points.series.groups[group] = _learned(points, stream, point, own)
    return known


def _learned(points: Points, stream: Stream, point: _Point, own: bytes) -> tuple[int, ...]:
    said = attributes(points.data, point.own)

    def number(suffix: str, more: Mapping[str, str], form: str = "") -> int:
        key = b"".join([stream.key, own, b"\0", suffix.encode(), *(text.encode() for text in more.values())])
        return points.series.number(stream, key, {**said, **more}, suffix, form)

    bounds = unpack(f"<{len(point.bounds) // 8}d", point.bounds) if point.buckets else ()
    upper = [*map(_number_text, bounds), "+Inf"] if point.buckets else []
    return (
        number("_count", {}),
        *(number("_bucket", {"le": bound}) for bound in upper),
        *(number("", {"quantile": _number_text(quantile)}, "gauge") for quantile, _ in point.quantiles),
        *((number("_sum", {}),) if point.total_at != NOWHERE else ()),
    )


def _number_text(value: float) -> str:
    """Return a bound as Prometheus writes it: `0.5`, `10`, `+Inf`.

    >>> _number_text(0.005), _number_text(10.0), _number_text(float("inf"))
    ('0.005', '10', '+Inf')
    """
    if value == float("inf"):
        return "+Inf"
    return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
