"""Reads a journal from a position on, as far as it is durable, across segments and past damage."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from opsbrain.journal import Journal
from opsbrain.segments import HEADER_BYTES, MAGIC, MESSAGE, Record, Segment, record_at, size_at

BATCH_BYTES: Final = 4 << 20  # of one batch: decoded rows take some ten times as much
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Messages:
    """Message bodies in order; `received_ms` is the wall clock when each was taken in."""

    offsets: Sequence[int]
    received_ms: Sequence[int]
    bodies: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class IdleMark:
    """From here on the input's watermark is at least `time_ms`."""

    offset: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class Damaged:
    """Records `[offset, until)` cannot be read: the disk changed them after they were written."""

    offset: int
    until: int


Entry = Messages | IdleMark | Damaged


class JournalReader:
    """Stands at an offset of a journal. Buffers about a MiB."""

    def __init__(self, journal: Journal, offset: int) -> None:
        """Begin at `offset`; raise StateMismatch when records from there on are gone."""
        journal.holds(offset)
        self._journal = journal
        self._offset = offset
        self._segment: Segment | None = None
        self._file = -1
        self._buffer = b""
        self._cursor = 0  # of the record at the position, in the buffer
        self._base = 0  # of the buffer, in the file
        self._lost = False  # where the position lies in the file is not known, because of damage before it

    @property
    def position(self) -> int:
        """Return the offset of the next record."""
        return self._offset

    @property
    def at_end(self) -> bool:
        """Return whether everything durable was read."""
        return self._offset >= self._journal.next_offset

    def read(self, max_records: int = 2_000, max_bytes: int = BATCH_BYTES) -> Entry | None:
        """Return messages up to the next mark, or a mark, or what is damaged; None at the end.

        Ends with the message that makes it `max_bytes` or more: one may be a whole request of many records.
        """
        received: list[int] = []
        bodies: list[bytes] = []
        size = 0
        while len(bodies) < max_records and size < max_bytes and self._stand():
            record = self._peek()
            if record is None or record[0] != MESSAGE:
                if bodies:
                    break
                return self._damaged() if record is None else self._mark(record)
            received.append(record[1])
            bodies.append(record[2])
            size += len(record[2])
            self._go_on(record)
        return Messages(range(self._offset - len(bodies), self._offset), received, bodies) if bodies else None

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _stand(self) -> bool:
        """Have the segment open that holds the position; return False at the end of what is durable."""
        if self._segment is None or (self._offset >= self._segment.until and not self.at_end):
            self._open(self._journal.segment_of(self._offset))
        return self._segment is not None and self._offset < self._segment.until

    def _open(self, segment: Segment) -> None:
        self.close()
        self._file = os.open(segment.path, os.O_RDONLY)
        self._segment = segment
        self._buffer, self._base, self._cursor, self._lost = b"", len(MAGIC), 0, False
        wanted, self._offset = max(self._offset, segment.first), segment.first
        while self._offset < wanted and (record := self._peek()) is not None:
            self._go_on(record)
        self._lost = self._offset < wanted
        self._offset = wanted

    def _peek(self) -> Record | None:
        """Return the record at the position, or None if it is damaged."""
        if self._lost:
            return None
        size = size_at(self._buffer, self._cursor)
        if size is None or self._cursor + size > len(self._buffer):
            self._fill(size or HEADER_BYTES)
            size = size_at(self._buffer, self._cursor)
            if size is not None and size > len(self._buffer):
                self._fill(size)
        return record_at(self._buffer, self._cursor)

    def _fill(self, wanted: int) -> None:
        assert self._segment is not None
        self._base += self._cursor
        left = self._journal.end_of(self._segment)[1] - self._base  # a damaged length may ask for gigabytes
        self._buffer = os.pread(self._file, min(max(wanted, _READ_BYTES), max(left, 0)), self._base)
        self._cursor = 0

    def _go_on(self, record: Record) -> None:
        self._cursor += HEADER_BYTES + len(record[2])
        self._offset += 1

    def _mark(self, record: Record) -> IdleMark:
        mark = IdleMark(self._offset, struct.unpack("<q", record[2])[0])
        self._go_on(record)
        return mark

    def _damaged(self) -> Damaged:
        """Give up the rest of the segment: without this record's length, nobody knows where the next begins."""
        assert self._segment is not None
        until, end = self._journal.end_of(self._segment)
        lost = Damaged(self._offset, until)
        self._offset, self._base, self._buffer, self._cursor, self._lost = until, end, b"", 0, False
        return lost
