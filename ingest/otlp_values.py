"""Reads the attributes and values of OTLP (`KeyValue`, `AnyValue`) from protobuf, as text.

A value that is no text becomes its canonical JSON: `true`, `5`, `[1,2]`, `{"a":1}` (keys sorted), bytes in base64.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Iterable
from typing import Final

import msgspec

from ingest.protobuf import double, fields, fixed64_key, int64, length_key, text, varint_key

MAX_DEPTH: Final = 32
"""How deep arrays and maps may lie in each other; what is deeper is not shown."""

DEEPER: Final = "..."

KEY: Final = length_key(1)
VALUE: Final = length_key(2)
_STRING: Final = length_key(1)
_BOOL: Final = varint_key(2)
_INT: Final = varint_key(3)
_DOUBLE: Final = fixed64_key(4)
_ARRAY: Final = length_key(5)
_MAP: Final = length_key(6)
_BYTES: Final = length_key(7)
_VALUES: Final = length_key(1)

Value = str | bool | int | float | bytes | list["Value"] | dict[str, "Value"] | None

_CANONICAL: Final = msgspec.json.Encoder(order="sorted")


def attributes(data: bytes, bounds: Iterable[tuple[int, int]]) -> dict[str, str]:
    """Return the `KeyValue`s at these places; of equal keys the last counts. Raises Malformed."""
    return dict(_attribute(data, a, b) for a, b in bounds)


def text_of(data: bytes, a: int, b: int) -> str:
    """Return an `AnyValue` as text, "" where it holds none; raise Malformed where it is none."""
    value = _value(data, a, b, MAX_DEPTH)
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return b2a_base64(value, newline=False).decode()
    return "" if value is None else _CANONICAL.encode(value).decode()


def resource_attributes(resource: bytes) -> dict[str, str]:
    """Return the attributes of an encoded `Resource`; raise Malformed."""
    return attributes(resource, [(a, b) for key, a, b in fields(resource) if key == _VALUES])


def _attribute(data: bytes, a: int, b: int) -> tuple[str, str]:
    key = value = ""
    for field, x, y in fields(data, a, b):
        if field == KEY:
            key = text(data, x, y)
        elif field == VALUE:
            value = text_of(data, x, y)
    return key, value


def _value(data: bytes, a: int, b: int, depth: int) -> Value:
    if not depth:
        return DEEPER
    found: Value = None
    for key, x, y in fields(data, a, b):
        if key == _STRING:
            found = text(data, x, y)
        elif key == _INT:
            found = int64(x)
        elif key == _DOUBLE:
            found = double(data, x)
        elif key == _BOOL:
            found = x != 0
        elif key == _BYTES:
            found = data[x:y]
        elif key == _ARRAY:
            found = [_value(data, i, j, depth - 1) for inner, i, j in fields(data, x, y) if inner == _VALUES]
        elif key == _MAP:
            found = dict(_pair(data, i, j, depth - 1) for inner, i, j in fields(data, x, y) if inner == _VALUES)
    return found


def _pair(data: bytes, a: int, b: int, depth: int) -> tuple[str, Value]:
    key, value = "", None
    for field, x, y in fields(data, a, b):
        if field == KEY:
            key = text(data, x, y)
        elif field == VALUE:
            value = _value(data, x, y, depth)
    return key, value
