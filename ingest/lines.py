"""Reads a file of lines, gzipped or not, a few at a time: memory is that of one batch, whatever the file's size."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from engine.errors import SourceError

_CHUNK_BYTES: Final = 1 << 18
_GZIP_MAGIC: Final = b"\x1f\x8b"


class Lines:
    """A file's lines in order, without their ends. A damaged archive gives every whole line before the damage.

    `problem` says what is wrong with the file, "" as long as nothing is known to be; `torn` is what damage left of a
    line. Raises SourceError when the file cannot be opened, or is named .gz and is no gzip archive.
    """

    def __init__(self, path: Path) -> None:
        self.problem = ""
        self.torn = b""
        self._path = path
        self._file = _opened(path)
        self._tail = b""
        self._waiting: list[bytes] = []
        self._ended = False
        head = self._file.peek(2)[:2]
        self._member = zlib.decompressobj(wbits=31) if head == _GZIP_MAGIC else None
        if self._member is None and path.suffix == ".gz":
            self._file.close()
            raise SourceError(f"{path}: is not a gzip archive; bring the file again or drop .gz from its name")

    def take(self, count: int) -> list[bytes]:
        """Return the next `count` lines, fewer only at the end of the file."""
        while len(self._waiting) < count and not self._ended:
            self._read()
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self) -> None:
        try:
            raw = self._file.read(_CHUNK_BYTES)
        except OSError as error:
            raise SourceError(f"{self._path}: {error.strerror or error}; check the disk") from error
        *lines, self._tail = (self._tail + (raw if self._member is None else self._unzip(raw))).split(b"\n")
        self._waiting += lines
        if raw and not self.problem:
            return
        if not raw and self._member is not None and not self._member.eof and not self.problem:
            self.problem = "the gzip archive is cut off"
        self._end()

    def _end(self) -> None:
        self._ended = True
        if self.problem:
            self.torn = self._tail
        elif self._tail:
            self._waiting.append(self._tail)

    def _unzip(self, raw: bytes) -> bytes:
        """Return what `raw` holds; archives of several members (as `cat a.gz b.gz` makes) are read on."""
        parts: list[bytes] = []
        member = self._member
        while raw and member is not None:
            if member.eof:
                member = self._member = zlib.decompressobj(wbits=31)
            text, whole = inflate(member, raw)
            parts.append(text)
            if not whole:
                self.problem = "the gzip archive is damaged"
                break
            raw = member.unused_data
        return b"".join(parts)


def inflate(member: zlib._Decompress, raw: bytes) -> tuple[bytes, bool]:
    """Return what the next bytes of an archive unpack to, and whether they are whole.

    Of damaged ones comes everything before the damage: zlib gives nothing of a piece in which it finds some, so that
    piece is unpacked again byte by byte.
    """
    before = member.copy()
    try:
        return member.decompress(raw), True
    except zlib.error:
        return b"".join(_until_damage(before, raw)), False


def _until_damage(member: zlib._Decompress, raw: bytes) -> Iterator[bytes]:
    for at in range(len(raw)):
        try:
            yield member.decompress(raw[at : at + 1])
        except zlib.error:
            return


def _opened(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}; check the path and its permissions") from error
