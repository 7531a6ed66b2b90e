"""The journal: what came, on disk before anyone is answered, until it is in a checkpoint.

One folder an input, of segment files (`opsbrain.segments`). A record is one message as it came, or an idle mark; its
offset is its number since the input began. Bodies are unscrubbed, so a segment is deleted as soon as a checkpoint has
passed it. Records become durable in groups: whoever gets to the disk next takes along everybody who came meanwhile.
"""

from __future__ import annotations

import logging
import os
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.errors import OpsBrainError, Retryable, SourceError, StateMismatch
from opsbrain.segments import IDLE, MESSAGE, Segment, begin_segment, find_segments, frame, torn_bytes, write_all

RETRY_FULL_S: Final = 5.0  # about the time until the next checkpoint frees a segment
RETRY_BROKEN_S: Final = 30.0  # a disk that fails is not well again at once

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Ticket:
    """What one caller wants written; `free` gets through a full journal, `if_next` only at that very offset."""

    frames: bytes
    records: int
    if_next: int | None = None
    free: bool = False
    first: int | None = None
    error: OpsBrainError | None = None
    done: bool = False


class Journal:
    """One input's journal. Append from any thread; read and drop from one."""

    def __init__(self, folder: Path, max_bytes: int = 256 << 20, segment_bytes: int = 16 << 20) -> None:
        """Open or begin the journal in `folder`; raise SourceError when that is not possible.

        max_bytes       how much is kept at most before senders are told to wait
        segment_bytes   when the next file is begun; what is in a checkpoint is deleted by whole files
        """
        self._folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._queue: list[_Ticket] = []
        self._queue_lock = threading.Lock()
        self._disk_lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)
            self._segments = find_segments(folder) or [begin_segment(folder, 0)]
            self._file = os.open(self._segments[-1].path, os.O_WRONLY)
            self._cut_torn()
        except OSError as error:
            raise SourceError(f"{folder}: cannot open the journal: {error.strerror or error}") from error

    @property
    def first_offset(self) -> int:
        """Return the offset of the oldest record that is kept."""
        return self._segments[0].first

    @property
    def next_offset(self) -> int:
        """Return the offset that the next record will have; everything before it is durable."""
        return self._segments[-1].until

    @property
    def kept_bytes(self) -> int:
        """Return how much is on disk."""
        return sum(one.bytes for one in self._segments)

    @property
    def is_filling(self) -> bool:
        """Return whether a checkpoint should free room soon."""
        return self.kept_bytes * 2 > self._max_bytes

    def append(self, bodies: Sequence[bytes], received_ms: int) -> int:
        """Write messages and return the offset of the first, once they are on disk.

        Raises Retryable when the journal is full or the disk refuses; then none of them is kept.
        """
        frames = b"".join([frame(MESSAGE, received_ms, body) for body in bodies])
        first = self._submit(_Ticket(frames, len(bodies)))
        assert first is not None  # only conditional tickets may be declined
        return first

    def append_idle(self, time_ms: int, received_ms: int, if_next: int) -> bool:
        """Write an idle mark unless something came since `if_next`; return whether it was written."""
        record = frame(IDLE, received_ms, struct.pack("<q", time_ms))
        return self._submit(_Ticket(record, 1, if_next=if_next, free=True)) is not None

    def start_at_least(self, offset: int) -> None:
        """Number the next record `offset` or later: an offset that a checkpoint knows is never given twice."""
        with self._disk_lock:
            if self.next_offset < offset:
                self._roll(offset)

    def holds(self, offset: int) -> None:
        """Raise StateMismatch when records from `offset` on are gone."""
        if offset < self.first_offset:
            raise StateMismatch(
                f"{self._folder}: begins at record {self.first_offset} but the checkpoint ends at {offset}; records "
                "are missing. Move the store's folder away to start fresh"
            )

    def segment_of(self, offset: int) -> Segment:
        """Return the segment that holds `offset`, or the one in which it will come."""
        return next((one for one in self._segments if one.until > offset), self._segments[-1])

    def end_of(self, segment: Segment) -> tuple[int, int]:
        """Return how far a segment is durable: the offset and the byte after its last record."""
        with self._disk_lock:
            return segment.until, segment.bytes

    def drop_before(self, offset: int) -> None:
        """Delete every segment whose records all lie before `offset`; the last one is replaced by an empty one."""
        with self._disk_lock:
            try:
                if self._segments[-1].until <= offset:
                    self._roll(self._segments[-1].until)
                for one in self._segments[:-1]:
                    if one.until <= offset:
                        one.path.unlink(missing_ok=True)
                        self._segments = [other for other in self._segments if other is not one]
            except OSError as error:
                _log.warning("%s: cannot drop what is done with: %s", self._folder, error.strerror)

    def close(self) -> None:
        """Close the file; everything that was answered for is on disk already."""
        os.close(self._file)

    def _submit(self, ticket: _Ticket) -> int | None:
        with self._queue_lock:
            self._queue.append(ticket)
        with self._disk_lock:
            if not ticket.done:
                with self._queue_lock:
                    group, self._queue = self._queue, []
                self._write_group(group)
        if ticket.error is not None:
            raise ticket.error
        return ticket.first

    def _write_group(self, group: Sequence[_Ticket]) -> None:
        taken = self._admit(group)
        segment = self._segments[-1]
        try:
            if taken:
                write_all(self._file, b"".join([one.frames for one in taken]), segment.bytes)
                os.fdatasync(self._file)
            segment.bytes += sum(len(one.frames) for one in taken)
            segment.until += sum(one.records for one in taken)
        except OSError as error:
            self._undo(segment)
            for one in taken:
                one.error = Retryable(f"the journal cannot be written: {error.strerror}", RETRY_BROKEN_S)
        finally:
            for one in group:
                one.done = True
        if segment.bytes >= self._segment_bytes:
            self._roll_if_possible()

    def _admit(self, group: Sequence[_Ticket]) -> list[_Ticket]:
        """Give every ticket that fits its offset, and each other one its error."""
        taken: list[_Ticket] = []
        following, kept = self.next_offset, self.kept_bytes
        for one in group:
            if one.if_next not in (None, following):
                continue
            if not one.free and kept + len(one.frames) > self._max_bytes:
                one.error = Retryable(f"the journal is full: {kept:,} bytes wait to be worked off", RETRY_FULL_S)
                continue
            one.first = following
            following += one.records
            kept += len(one.frames)
            taken.append(one)
        return taken

    def _undo(self, segment: Segment) -> None:
        # after a failed sync nobody knows what is on disk; nobody was answered, so what was written may go
        try:
            os.ftruncate(self._file, segment.bytes)
        except OSError as error:
            _log.warning("%s: cannot cut off what failed to be written: %s", segment.path, error.strerror)

    def _roll_if_possible(self) -> None:
        try:
            self._roll(self.next_offset)
        except OSError as error:
            _log.warning("%s: cannot begin the next segment: %s", self._folder, error.strerror)

    def _roll(self, first: int) -> None:
        """Begin the segment of `first`; one without records is replaced."""
        last = self._segments[-1]
        if last.first == first:
            return
        begun = begin_segment(self._folder, first)
        file = os.open(begun.path, os.O_WRONLY)
        os.close(self._file)
        self._file = file
        kept = self._segments
        if last.first == last.until:
            last.path.unlink()
            kept = kept[:-1]
        self._segments = [*kept, begun]

    def _cut_torn(self) -> None:
        last = self._segments[-1]
        if torn := torn_bytes(last):
            _log.warning("%s: cut off %d bytes of a record that was never finished", last.path, torn)
            os.ftruncate(self._file, last.bytes)
            os.fsync(self._file)
