"""From an object as it lies in storage to bodies that may be kept: decompressed as it comes, cut where it is too large.

The same object gives the same bodies each time, so that one which is read again after a crash is recognised.

lines       text that begins with `{`: cut between lines
cloudtrail  `{"Records": [...]}`: cut between records
others      as they are, or not at all
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from engine.errors import DataError
from ingest.gunzip import MAGIC, inflated


def unpacked(parts: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    """Yield what `parts` hold, gzip undone, a megabyte at a time.

    Raises DataError when that is more than `max_bytes`, or when the gzip is damaged.
    """
    left = max_bytes
    for part in _plain(parts):
        left -= len(part)
        if left < 0:
            raise DataError(f"it holds more than {max_bytes:,} bytes")
        yield part


def bodies_of(parts: Iterable[bytes], format: str, max_bytes: int) -> Iterator[bytes]:
    """Yield the bodies of an unpacked object, each of at most `max_bytes`; raise DataError where it cannot be cut.

    Holds no more than one body and a part in memory, of CloudTrail's files all.
    """
    if format == "cloudtrail":
        yield from _records(b"".join(parts), max_bytes)
        return
    held = bytearray()
    for part in parts:
        held += part
        while len(held) > max_bytes:
            yield _first_lines(held, max_bytes)
    if held.strip():
        yield bytes(held)


def _plain(parts: Iterable[bytes]) -> Iterator[bytes]:
    whole = _beginning_whole(parts)
    first = next(whole, b"")
    if not first.startswith(MAGIC):
        yield first
        yield from whole
        return
    yield from inflated(_with(first, whole))


def _beginning_whole(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the parts, the first of at least two bytes if there are."""
    begun = b""
    for part in parts:
        begun += part
        if len(begun) >= len(MAGIC):
            yield begun
            begun = b""
    if begun:
        yield begun


def _with(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _first_lines(held: bytearray, max_bytes: int) -> bytes:
    """Take as many whole lines from `held` as fit, and return them."""
    if held[:64].lstrip()[:1] != b"{":
        raise DataError(f"it is larger than {max_bytes:,} bytes and not of lines that it could be cut between")
    end = held.rfind(b"\n", 0, max_bytes) + 1
    if not end:
        raise DataError(f"it has a line of more than {max_bytes:,} bytes")
    body = bytes(held[:end])
    del held[:end]
    return body


class _File(msgspec.Struct):
    Records: list[msgspec.Raw]


def _records(body: bytes, max_bytes: int) -> Iterator[bytes]:
    if len(body) <= max_bytes:
        yield body
        return
    try:
        records = msgspec.json.decode(body, type=_File).Records
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"it is larger than {max_bytes:,} bytes and no file of Records") from error
    taken: list[bytes] = []
    size = 0
    for record in map(bytes, records):
        if len(record) + 16 > max_bytes:
            raise DataError(f"it has a record of more than {max_bytes:,} bytes")
        if taken and size + len(record) + 16 > max_bytes:
            yield _file(taken)
            taken, size = [], 0
        taken.append(record)
        size += len(record) + 1
    if taken:
        yield _file(taken)


def _file(records: list[bytes]) -> bytes:
    return b'{"Records":[' + b",".join(records) + b"]}"
