"""Reads a partition that is held whole, as a frame sorted by time: recorded data sets that fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from engine.schemas import Kind, conform
from engine.types import DeadLetter, Records

BATCH_ROWS: Final = 50_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """What could not be read of a file: the row (0 for the file as a whole), why, and the scrubbed text."""

    file: str
    row: int
    reason: str
    body: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """One partition in memory: rows in their order without `offset`, and what could not be read.

    Offsets are row numbers; what could not be read comes after the last row, so that every message has its own.
    """

    kind: Kind
    frame: pl.DataFrame
    refused: tuple[Refusal, ...] = ()

    def numbered(self) -> pl.DataFrame:
        """Return the rows with their offsets, in the schema of the kind."""
        return conform(self.kind, self.frame.drop("offset", strict=False).with_row_index("offset"))


class FrameReader:
    """Gives a held partition in batches. Cheap to open: batches are slices."""

    def __init__(self, held: Held, input: str, offset: int = 0, batch_rows: int = BATCH_ROWS) -> None:
        self._kind: Kind = held.kind
        self._frame = held.numbered()
        self._letters = [
            DeadLetter(input, self._frame.height + number, f"{one.file}, row {one.row}: {one.reason}", one.body)
            for number, one in enumerate(held.refused)
        ]
        self._input = input
        self._position = offset
        self._batch_rows = batch_rows

    @property
    def position(self) -> int:
        """Return the offset of the next message."""
        return self._position

    def next_batch(self) -> tuple[Records | None, Sequence[DeadLetter]] | None:
        """Return the next rows; the last batch also carries what could not be read. None at the end."""
        rows = self._frame.height
        if self._position >= rows + len(self._letters):
            return None
        part = self._frame.slice(self._position, self._batch_rows)
        letters = self._letters[max(self._position - rows, 0) :] if self._position + part.height >= rows else []
        self._position += part.height + len(letters)
        records = None if part.is_empty() else Records(self._kind, part, self._input, self._position)
        return records, letters

    def close(self) -> None:
        """Let go of the rows."""
        self._frame = self._frame.clear()
