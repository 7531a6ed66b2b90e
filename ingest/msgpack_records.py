"""MessagePack as Fluent Bit and fluentd write it, to JSON records: one way to read them, and to show refused ones.

    record                                  out_kafka with `format msgpack`: a map a message
    [time, record] [time, record] ...       out_http with `format msgpack`; time is EventTime, a number
    [[time, metadata], record] ...          the same since Fluent Bit 2.1
    [tag, [[time, record], ...], options]   the forward protocol, also as [tag, time, record] and [tag, packed, options]

The record's time goes under `@timestamp` as nanoseconds, a tag under `tag`. A value in the place of a record that is
none becomes JSON too, for the format to refuse. What cannot be read at all ends the message: the rest of it is one last
record, as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, TypeVar

import msgpack
import msgspec

from engine.errors import DataError
from ingest.gunzip import gunzipped
from ingest.split import FEW_RECORDS, TooDense, most_records, too_many

T = TypeVar("T")

_EVENT_TIME: Final = 0  # ext type: seconds and nanoseconds, 4 bytes each (Fluentd's Forward Protocol v1)
_MAX_UNPACKED_BYTES: Final = 16 * 1024 * 1024  # of the compressed batches of a message
_CONTAINER_BYTES: Final = 6  # of a body, to each map or array in it; a record and its time are four in some 26
_MAX_DEPTH: Final = 64
_GROUP_MARKERS: Final = (0xFFFFFFFF, 0xFFFFFFFE)  # seconds of -1 and -2: a group of records begins, ends (since 3.2)

# What the unpacker raises on bytes that are no MessagePack or not whole, or nested without end.
_UNREADABLE: Final = (DataError, msgpack.UnpackException, ValueError, TypeError, OverflowError, RecursionError)

_ENCODER: Final = msgspec.json.Encoder()


def is_msgpack(body: bytes) -> bool:
    """Return whether a body begins as a map or an array of MessagePack does, and so as no JSON can."""
    first = body[0] if body else 0
    return 0x80 <= first <= 0x9F or 0xDC <= first <= 0xDF


def json_of_msgpack(body: bytes) -> list[bytes]:
    """Return the records of a body, each as JSON; last what could not be read, as it is.

    Raises TooDense when they are more than a body of its size, decompressed, may hold.
    """
    found: list[bytes] = []
    unpacker = _unpacker(body)
    size = len(body)
    read = 0
    while read < len(body):
        try:
            value, inflated_bytes = _unzipped(_whole(unpacker.unpack()), len(body) + _MAX_UNPACKED_BYTES - size)
            size += inflated_bytes
            found += map(_encoded, islice(_records(value, 0), most_records(size) + 1 - len(found)))
        except TooDense:
            raise
        except _UNREADABLE:
            return [*found, body[read:]]
        if len(found) > most_records(size):
            raise too_many(size)
        read = unpacker.tell()
    return found or [body]


def _unpacker(body: bytes) -> Any:
    """Return an unpacker whose parts cannot be larger than the body itself, nor many more than its records have."""
    hook = _Containers(len(body))
    unpacker = msgpack.Unpacker(
        raw=False,
        unicode_errors="replace",
        strict_map_key=False,
        timestamp=2,  # nanoseconds
        ext_hook=_extension,
        object_hook=hook,
        list_hook=hook,
        max_buffer_size=max(len(body), 1),
    )
    unpacker.feed(body)
    return unpacker


class _Containers:
    """Raises TooDense when a body has more maps and arrays than any shipper's: each is up to 180 bytes in memory."""

    __slots__ = ("_left", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = FEW_RECORDS + size // _CONTAINER_BYTES

    def __call__(self, value: T) -> T:
        self._left -= 1
        if self._left < 0:
            raise too_many(self._size)
        return value


def _extension(code: int, data: bytes) -> int | str:
    if code == _EVENT_TIME and len(data) == 8:
        return int.from_bytes(data[:4], "big") * 1_000_000_000 + int.from_bytes(data[4:], "big")
    return f"ext {code}"


def _whole(value: Any) -> Any:
    """Return a map or an array; raise ValueError for anything else, which is where text or noise begins."""
    if not isinstance(value, dict | list):
        raise ValueError("neither a record nor a list of records")
    return value


def _records(value: Any, depth: int) -> Iterator[Any]:
    """Yield the records of one value, and what stands in the place of one."""
    match value:
        case dict():
            yield value
        case [[stamp, dict()], dict() as record]:  # with metadata
            yield from _stamped(stamp, record)
        case [str() as tag, list() as entries, *_] if depth == 0:
            for entry in entries:
                yield from _tagged(tag, _records(entry, depth + 1))
        case [str() as tag, bytes() as packed, *_] if depth == 0:
            yield from _tagged(tag, _packed(packed))
        case [str() as tag, stamp, dict() as record, *_]:
            yield from _tagged(tag, _stamped(stamp, record))
        case [stamp, dict() as record]:
            yield from _stamped(stamp, record)
        case _:
            yield value


def _tagged(tag: str, records: Iterator[Any]) -> Iterator[Any]:
    return ({"tag": tag} | record if isinstance(record, dict) else record for record in records)


def _stamped(stamp: Any, record: dict[Any, Any]) -> Iterator[Any]:
    if not (isinstance(stamp, int) and stamp // 1_000_000_000 in _GROUP_MARKERS):
        yield record | {"@timestamp": stamp}


def _packed(packed: bytes) -> Iterator[Any]:
    """Yield the records of PackedForward mode: entries one after another."""
    unpacker = _unpacker(packed)
    while unpacker.tell() < len(packed):
        yield from _records(_whole(unpacker.unpack()), 1)


def _unzipped(value: Any, max_bytes: int) -> tuple[Any, int]:
    """Return a value with its batch decompressed where its options say that it is not, and how large that is."""
    match value:
        case [str() as tag, bytes() as packed, {"compressed": "gzip"}, *_]:
            entries = gunzipped(packed, max_bytes)
            return [tag, entries], len(entries)
    return value, 0


def _encoded(record: Any) -> bytes:
    return _ENCODER.encode(_plain(record, 0) if _holds_bytes([record], 0) else record)


def _holds_bytes(values: Iterable[Any], depth: int) -> bool:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    for value in values:
        kind = type(value)
        if kind is bytes:
            return True
        if (kind is dict and _holds_bytes(value.values(), depth + 1)) or (
            kind is list and _holds_bytes(value, depth + 1)
        ):
            return True
    return False


def _plain(value: Any, depth: int) -> Any:
    """Return a value as JSON can carry it, what is binary as text; raise ValueError when it is nested too deeply."""
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        return {_key(key): _plain(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, depth + 1) for one in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _key(key: Any) -> str:
    return key if isinstance(key, str) else key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key)
