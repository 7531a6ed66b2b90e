"""Segment files of the journal: how a record lies on disk, and how one is found sound, torn or damaged.

    segment   8 bytes MAGIC, then records
    record    u32 length of the body, u32 crc32 of all the rest, u8 kind, i64 received_ms, body   (little-endian)

A segment is named by the offset of its first record; files are 0600, folders 0700.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from engine.errors import SourceError

MAGIC: Final = b"OBJRNL1\n"
SUFFIX: Final = ".segment"
MESSAGE: Final = 0
IDLE: Final = 1

_HEADER: Final = struct.Struct("<IIBq")
_CHECKED: Final = struct.Struct("<IBq")  # what the crc covers of the header
HEADER_BYTES: Final = _HEADER.size

Record = tuple[int, int, bytes]
"""kind, received_ms, body"""


@dataclass(slots=True)
class Segment:
    """One file: records `[first, until)`, `bytes` of it durable."""

    first: int
    path: Path
    until: int
    bytes: int


def frame(kind: int, received_ms: int, body: bytes) -> bytes:
    """Return a record as it lies on disk."""
    crc = zlib.crc32(body, zlib.crc32(_CHECKED.pack(len(body), kind, received_ms)))
    return _HEADER.pack(len(body), crc, kind, received_ms) + body


def size_at(data: bytes, at: int) -> int | None:
    """Return how many bytes the record at `at` says it takes, or None when not even that is there."""
    return HEADER_BYTES + int(_HEADER.unpack_from(data, at)[0]) if at + HEADER_BYTES <= len(data) else None


def record_at(data: bytes, at: int) -> Record | None:
    """Return the record at `at`, or None when it is not there whole and unchanged."""
    if at + HEADER_BYTES > len(data):
        return None
    length, crc, kind, received_ms = _HEADER.unpack_from(data, at)
    body = data[at + HEADER_BYTES : at + HEADER_BYTES + length]
    whole = len(body) == length and zlib.crc32(body, zlib.crc32(_CHECKED.pack(length, kind, received_ms))) == crc
    return (kind, received_ms, body) if whole else None


def begin_segment(folder: Path, first: int) -> Segment:
    """Create the file whose first record will be `first`, durably; raise OSError."""
    path = folder / f"{first:020d}{SUFFIX}"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write_all(handle, MAGIC, 0)
        os.fsync(handle)
    finally:
        os.close(handle)
    sync_folder(folder)
    return Segment(first, path, first, len(MAGIC))


def find_segments(folder: Path) -> list[Segment]:
    """Return the segments in `folder`, oldest first, a torn last record cut off; raise SourceError or OSError."""
    names = sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    found = [_checked(path, last=path is names[-1]) for path in names]
    for path, one in zip(names, found, strict=True):
        if one is None:
            path.unlink()  # begun and never filled
    segments = [one for one in found if one is not None]
    for one, following in pairwise(segments):
        one.until = following.first
    if segments:
        _mend(segments[-1])
    return segments


def torn_bytes(segment: Segment) -> int:
    """Return how many bytes after the last whole record were cut off when the segment was found."""
    return segment.path.stat().st_size - segment.bytes


def write_all(handle: int, data: bytes, at: int) -> None:
    """Write all of `data` at `at`; raise OSError."""
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, at)
        view, at = view[written:], at + written


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _checked(path: Path, *, last: bool) -> Segment | None:
    """Return the segment in `path`, or None when it holds nothing (and is not the last)."""
    with path.open("rb") as file:
        start = file.read(len(MAGIC))
        torn = last and start != MAGIC and MAGIC.startswith(start.rstrip(b"\0")) and not file.read(1)
    if not path.stem.isdigit() or not (start == MAGIC or torn):
        raise SourceError(f"{path}: not a segment of a journal; move it out of the folder")
    first = int(path.stem)
    if torn:
        return begin_segment(path.parent, first)
    size = path.stat().st_size
    return Segment(first, path, first, size) if last or size > len(MAGIC) else None


def _mend(segment: Segment) -> None:
    """Find the end of the last segment and cut off what was being written when the process died.

    Nobody was answered for it: an answer follows the fsync, and a record that was synced is whole.
    """
    data = segment.path.read_bytes()
    end, records = len(MAGIC), 0
    while (record := record_at(data, end)) is not None:
        end += HEADER_BYTES + len(record[2])
        records += 1
    segment.until, segment.bytes = segment.first + records, end
