"""Turns OTLP/JSON into OTLP protobuf, so that there is one reading of either.

By the rules of OTLP/JSON: keys in lowerCamelCase, ids in hex of any case, 64-bit numbers as text or numbers, enums as
numbers (their names are taken too), unknown keys ignored. A time, an id or a sample that cannot be read is left out,
and its row is refused later; anything else that has a wrong type makes the request Malformed.

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding.
"""

from __future__ import annotations

import binascii
import math
from collections.abc import Callable, Mapping
from struct import pack
from typing import Any, Final

from ingest.otlp_values import DEEPER, MAX_DEPTH
from ingest.protobuf import Malformed

Write = Callable[[Any, int], bytes]
Shape = dict[str, Write]
"""By JSON key what writes its value as a protobuf field, in the order of the fields' numbers."""

_TEMPORALITY: Final = {"AGGREGATION_TEMPORALITY_DELTA": 1, "AGGREGATION_TEMPORALITY_CUMULATIVE": 2}
_SPAN_KINDS: Final = {
    f"SPAN_KIND_{name}": number
    for number, name in enumerate(("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"))
}
_STATUS: Final = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}
_SEVERITIES: Final = {
    f"SEVERITY_NUMBER_{name}{step if step > 1 else ''}": 4 * place + step
    for place, name in enumerate(("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"))
    for step in (1, 2, 3, 4)
}


def to_protobuf(request: Any, signal: str) -> bytes:
    """Return the protobuf of one decoded JSON request of `logs`, `metrics` or `spans`; raise Malformed."""
    if not isinstance(request, dict):
        raise Malformed("OTLP JSON: a request is not an object")
    key, shape = REQUESTS[signal]
    if request and key not in request:
        raise Malformed(f"OTLP JSON: a request holds no {key}")
    return _message(shape, request, 0)


def _message(shape: Shape, value: Any, depth: int) -> bytes:
    if not isinstance(value, dict):
        raise Malformed("OTLP JSON: something is not an object that has to be one")
    return b"".join(
        [write(found, depth) for key, write in shape.items() if (found := value.get(key)) is not None],
    )


def _sized(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _one(number: int, shape: Shape) -> Write:
    return lambda value, depth: _sized(number, _message(shape, value, depth))


def _many(number: int, shape: Shape) -> Write:
    one = _one(number, shape)
    return lambda values, depth: b"".join([one(value, depth) for value in _list(values)])


def _text(number: int) -> Write:
    def write(value: Any, depth: int) -> bytes:
        if not isinstance(value, str):
            raise Malformed("OTLP JSON: something is not text that has to be it")
        return _sized(number, value.encode())

    return write


def _hex(number: int) -> Write:
    def write(value: Any, depth: int) -> bytes:
        try:
            return _sized(number, bytes.fromhex(value))
        except (TypeError, ValueError):
            return b""

    return write


def _base64(number: int) -> Write:
    def write(value: Any, depth: int) -> bytes:
        try:
            return _sized(number, binascii.a2b_base64(value))
        except (TypeError, ValueError):
            return b""

    return write


def _bool(number: int) -> Write:
    return lambda value, depth: _varint(number << 3) + (b"\x01" if value is True else b"\x00")


def _enum(number: int, names: Mapping[str, int]) -> Write:
    def write(value: Any, depth: int) -> bytes:
        whole = names.get(value) if isinstance(value, str) and value in names else _whole(value)
        return _varint(number << 3) + _varint(whole & 0xFFFFFFFF) if whole is not None else b""

    return write


def _int(number: int) -> Write:
    """Write a varint: an int64 that must be one."""
    return lambda value, depth: _varint(number << 3) + _varint(_required(value) & 0xFFFFFFFFFFFFFFFF)


def _fixed(number: int, layout: str) -> Write:
    """Write a 64-bit number of fixed size; one that cannot be read is left out."""

    def write(value: Any, depth: int) -> bytes:
        whole = _whole(value)
        low, high = (0, 1 << 64) if layout == "<Q" else (-(1 << 63), 1 << 63)
        return _varint(number << 3 | 1) + pack(layout, whole) if whole is not None and low <= whole < high else b""

    return write


def _double(number: int) -> Write:
    def write(value: Any, depth: int) -> bytes:
        found = _float(value)
        return _varint(number << 3 | 1) + pack("<d", found) if found is not None else b""

    return write


def _counts(number: int) -> Write:
    def write(values: Any, depth: int) -> bytes:
        wholes = [_required(value) for value in _list(values)]
        if any(not 0 <= whole < 1 << 64 for whole in wholes):
            raise Malformed("OTLP JSON: a count is out of range")
        return _sized(number, pack(f"<{len(wholes)}Q", *wholes))

    return write


def _bounds(number: int) -> Write:
    def write(values: Any, depth: int) -> bytes:
        found = [_float(value) for value in _list(values)]
        return _sized(number, pack(f"<{len(found)}d", *[math.nan if one is None else one for one in found]))

    return write


def _any(number: int) -> Write:
    def write(value: Any, depth: int) -> bytes:
        if depth >= MAX_DEPTH:
            return _sized(number, _sized(1, DEEPER.encode()))
        return _sized(number, _message(_ANY, value, depth + 1))

    return write


def _list(values: Any) -> list[Any]:
    if not isinstance(values, list):
        raise Malformed("OTLP JSON: something is not an array that has to be one")
    return values


def _required(value: Any) -> int:
    whole = _whole(value)
    if whole is None or not -(1 << 63) <= whole < 1 << 64:
        raise Malformed("OTLP JSON: something is not a whole number that has to be one")
    return whole


def _whole(value: Any) -> int | None:
    """Return a number that is whole, or text that holds one; None for anything else."""
    if isinstance(value, str):
        digits = value.removeprefix("-")
        return int(value) if digits.isascii() and digits.isdigit() and len(digits) <= 20 else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _float(value: Any) -> float | None:
    """Return a number, or text that holds one (`NaN` and `Infinity` are text in JSON); None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


_ANY: Final[Shape] = {"stringValue": _text(1), "boolValue": _bool(2), "intValue": _int(3), "doubleValue": _double(4)}
_KEY_VALUE: Final[Shape] = {"key": _text(1), "value": _any(2)}
_ANY.update(
    arrayValue=_one(5, {"values": lambda values, depth: b"".join([_any(1)(one, depth) for one in _list(values)])}),
    kvlistValue=_one(6, {"values": _many(1, _KEY_VALUE)}),
    bytesValue=_base64(7),
)
_ATTRIBUTES: Final = {number: _many(number, _KEY_VALUE) for number in (1, 6, 7, 9)}
_RESOURCE: Final[Shape] = {"attributes": _ATTRIBUTES[1]}
_SCOPE: Final[Shape] = {"name": _text(1)}
_NUMBER_POINT: Final[Shape] = {
    "startTimeUnixNano": _fixed(2, "<Q"),
    "timeUnixNano": _fixed(3, "<Q"),
    "asDouble": _double(4),
    "asInt": _fixed(6, "<q"),
    "attributes": _ATTRIBUTES[7],
    "flags": _int(8),
}
_HISTOGRAM_POINT: Final[Shape] = {
    "timeUnixNano": _fixed(3, "<Q"),
    "count": _fixed(4, "<Q"),
    "sum": _double(5),
    "bucketCounts": _counts(6),
    "explicitBounds": _bounds(7),
    "attributes": _ATTRIBUTES[9],
    "flags": _int(10),
}
_EXPONENTIAL_POINT: Final[Shape] = {
    "attributes": _ATTRIBUTES[1],
    "timeUnixNano": _fixed(3, "<Q"),
    "count": _fixed(4, "<Q"),
    "sum": _double(5),
    "flags": _int(10),
}
_SUMMARY_POINT: Final[Shape] = {
    "timeUnixNano": _fixed(3, "<Q"),
    "count": _fixed(4, "<Q"),
    "sum": _double(5),
    "quantileValues": _many(6, {"quantile": _double(1), "value": _double(2)}),
    "attributes": _ATTRIBUTES[7],
    "flags": _int(8),
}
_AGGREGATION: Final[Shape] = {"aggregationTemporality": _enum(2, _TEMPORALITY)}
_METRIC: Final[Shape] = {
    "name": _text(1),
    "gauge": _one(5, {"dataPoints": _many(1, _NUMBER_POINT)}),
    "sum": _one(7, {"dataPoints": _many(1, _NUMBER_POINT), **_AGGREGATION, "isMonotonic": _bool(3)}),
    "histogram": _one(9, {"dataPoints": _many(1, _HISTOGRAM_POINT), **_AGGREGATION}),
    "exponentialHistogram": _one(10, {"dataPoints": _many(1, _EXPONENTIAL_POINT), **_AGGREGATION}),
    "summary": _one(11, {"dataPoints": _many(1, _SUMMARY_POINT)}),
}
_SPAN: Final[Shape] = {
    "traceId": _hex(1),
    "spanId": _hex(2),
    "parentSpanId": _hex(4),
    "name": _text(5),
    "kind": _enum(6, _SPAN_KINDS),
    "startTimeUnixNano": _fixed(7, "<Q"),
    "endTimeUnixNano": _fixed(8, "<Q"),
    "status": _one(15, {"code": _enum(3, _STATUS)}),
}
_LOG: Final[Shape] = {
    "timeUnixNano": _fixed(1, "<Q"),
    "severityNumber": _enum(2, _SEVERITIES),
    "severityText": _text(3),
    "body": _any(5),
    "attributes": _ATTRIBUTES[6],
    "observedTimeUnixNano": _fixed(11, "<Q"),
    "eventName": _text(12),
}


def _request(resources: str, scopes: str, items: str, item: Shape) -> tuple[str, Shape]:
    inside: Shape = {"scope": _one(1, _SCOPE), items: _many(2, item)}
    return resources, {resources: _many(1, {"resource": _one(1, _RESOURCE), scopes: _many(2, inside)})}


REQUESTS: Final = {
    "logs": _request("resourceLogs", "scopeLogs", "logRecords", _LOG),
    "metrics": _request("resourceMetrics", "scopeMetrics", "metrics", _METRIC),
    "spans": _request("resourceSpans", "scopeSpans", "spans", _SPAN),
}
