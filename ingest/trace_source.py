"""A published trace as a source: tables in, partitions in event-time order out, in bounded memory.

A trace says what its tables are and how a batch of one becomes rows (`Part`); everything else is here. A partition is
read when it is opened: once through the files, into `EventTimeOrder`; then in order. Offsets are row numbers in that
order, so a run can be resumed at any of them; what could not be read comes after the last row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import polars as pl

from engine.errors import SourceError
from engine.schemas import Kind, conform
from engine.types import DeadLetter, Records
from ingest.content import content_of
from ingest.event_time_order import PIECE_ROWS, EventTimeOrder
from ingest.trace_files import Found, TraceFile, find
from ingest.trace_schema import Table
from ingest.trace_sieve import Sieve
from ingest.trace_tables import batches

BATCH_ROWS: Final = 50_000
REPEAT: Final = "exact repeat"


Rows = Callable[[pl.DataFrame, Sieve], pl.DataFrame]
"""Turns a batch of a table into rows of a partition."""


@dataclass(frozen=True, slots=True)
class Part:
    """One partition: rows of one kind, made of one table.

    rows        turns a batch of the table into rows. Of metrics: ts_ms, entity, instance and one column an indicator
                (null: was not said; NaN: is missing); of other kinds: their schema without offset and identity
    indicators  the columns of `rows` that are indicators
    accounts    whether this partition tells of the table's bad rows, where several read it
    """

    kind: Kind
    table: str
    rows: Rows
    indicators: tuple[str, ...] = ()
    accounts: bool = True


@dataclass(slots=True)
class Loaded:
    """A partition that was read: its rows, and what was not used."""

    order: EventTimeOrder
    sieve: Sieve
    readers: int = 0


class TraceSource(ABC):
    """Reads one trace. Subclasses name the scope, the step, the tables and the partitions.

    dropped     rows of its tables that were not used, by partition and reason
    unread      files that belong to no table, with the reason

    Memory: some 50 MB a partition and 250 MB while reading, whatever the size of the files; the rest is on disk in
    TMPDIR (a third to a tenth of the files, unpacked), in folders that only the user may enter and that go when the
    readers are closed. Raises SourceError when there is no file of any table.
    """

    scope: ClassVar[str]
    step_ms: ClassVar[int]
    tables: ClassVar[Mapping[str, Table]]

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: Found = find(path, {name: table.names for name, table in self.tables.items()})
        self.unread: dict[str, str] = dict(self._found.unread)
        self._parts = {name: part for name, part in sorted(self.parts().items()) if part.table in self._found.tables}
        if not self._parts:
            raise SourceError(f"{path}: holds only {', '.join(self._found.tables)}; see docs/traces.md for the rest")
        self._loaded: dict[str, Loaded] = {}
        self._accounts: dict[str, Loaded] = {}

    @abstractmethod
    def parts(self) -> Mapping[str, Part]:
        """Return the partitions that the trace can have, by name."""

    @property
    def resolution_ms(self) -> int:
        """Return the trace's own step."""
        return self.step_ms

    @property
    def scopes(self) -> tuple[str, ...]:
        """Return the one scope."""
        return (self.scope,)

    @property
    def identity(self) -> str:
        """Return an id of the trace, by its files' names and sizes."""
        files = {file.path for files in self._found.tables.values() for file in files}
        return content_of(self.path.parent if self.path.is_file() else self.path, files)

    @property
    def dropped(self) -> dict[str, dict[str, int]]:
        """Return how many rows were not used, by partition and reason, as far as was read."""
        counted: dict[str, dict[str, int]] = {}
        for name, loaded in sorted(self._accounts.items()):
            reasons = Counter(loaded.sieve.dropped) if self._parts[name].accounts else Counter()
            reasons[REPEAT] += sum(loaded.order.repeats.values())
            counted[name] = {reason: count for reason, count in sorted(reasons.items()) if count}
        return counted

    def partitions(self) -> Mapping[str, Kind]:
        """Return the partitions for which there are files."""
        return {name: part.kind for name, part in self._parts.items()}

    def open(self, partition: str, offset: int = 0) -> OrderedReader:
        """Return a reader that stands at `offset`; reads the table's files first, unless another reader is open."""
        if partition not in self._parts:
            raise SourceError(f"{self.path}: has no {partition}; it has {', '.join(self._parts)}")
        part = self._parts[partition]
        if partition not in self._loaded:
            self._loaded[partition] = self._accounts[partition] = self._load(part)
        loaded = self._loaded[partition]
        loaded.readers += 1
        letters = loaded.sieve if part.accounts else Sieve()
        return OrderedReader(part, loaded.order, letters, partition, offset, lambda: self._let_go(partition))

    def use(self, table: str, files: Sequence[TraceFile]) -> None:
        """Read only these files of a table."""
        self._found = Found({**self._found.tables, table: tuple(files)}, self._found.unread)

    def batches(self, table: str, sieve: Sieve | None = None) -> Iterator[pl.DataFrame]:
        """Yield a table's rows, typed; nothing where it has no files. Bad rows go to `sieve`."""
        files = self._found.tables.get(table, ())
        return batches(files, self.tables[table], Sieve() if sieve is None else sieve)

    def load(self, part: Part, sieve: Sieve, order: EventTimeOrder) -> None:
        """Read the partition's table into `order`."""
        for batch in self.batches(part.table, sieve):
            order.add(part.rows(batch, sieve))

    def _load(self, part: Part) -> Loaded:
        pieces = max(1, PIECE_ROWS * 4 // len(part.indicators)) if part.indicators else PIECE_ROWS
        loaded = Loaded(EventTimeOrder(step=self.step_ms, piece_rows=pieces), Sieve())
        with ExitStack() as undo:
            undo.callback(loaded.order.close)
            self.load(part, loaded.sieve, loaded.order)
            undo.pop_all()
        return loaded

    def _let_go(self, partition: str) -> None:
        loaded = self._loaded[partition]
        loaded.readers -= 1
        if not loaded.readers:
            loaded.order.close()
            del self._loaded[partition]


class OrderedReader:
    """Gives a partition's rows in batches; the last batch also carries what could not be read."""

    def __init__(
        self, part: Part, order: EventTimeOrder, sieve: Sieve, input: str, offset: int, closed: Callable[[], None]
    ) -> None:
        self._part, self._sieve, self._input = part, sieve, input
        self._position = offset
        self._frames = _numbered(part.kind, _long(part, order), offset)
        self._closed: Callable[[], None] | None = closed
        self._next: tuple[int, pl.DataFrame | None] | None = None

    @property
    def position(self) -> int:
        """Return the offset of the next message."""
        return self._position

    def next_batch(self) -> tuple[Records | None, Sequence[DeadLetter]] | None:
        """Return the next rows, or None at the end."""
        rows, frame = self._next if self._next is not None else next(self._frames)
        letters: list[DeadLetter] = []
        if frame is not None:
            self._next = next(self._frames)
            self._position = rows
        else:
            self._next = (rows, None)
        if self._next[1] is None:
            letters = self._rest(self._next[0])
        if frame is None and not letters:
            return None
        records = None if frame is None else Records(self._part.kind, frame, self._input, self._position)
        return records, letters

    def close(self) -> None:
        """Let go of the rows."""
        self._frames.close()
        if self._closed is not None:
            self._closed()
            self._closed = None

    def _rest(self, rows: int) -> list[DeadLetter]:
        """Return the letters from the position on; they come after all `rows`."""
        letters = self._sieve.letters(self._input, rows)[max(self._position - rows, 0) :]
        self._position += len(letters)
        return letters


def _numbered(
    kind: Kind, frames: Iterator[pl.DataFrame], offset: int
) -> Generator[tuple[int, pl.DataFrame | None], None, None]:
    """Yield the rows from `offset` on with their offsets, each with the offset after them; then (all rows, None)."""
    rows = 0
    for frame in frames:
        numbered = frame.with_row_index("offset", offset=rows).filter(pl.col("offset") >= offset)
        rows += frame.height
        if not numbered.is_empty():
            yield rows, conform(kind, numbered)
    while True:
        yield rows, None


def _long(part: Part, order: EventTimeOrder) -> Iterator[pl.DataFrame]:
    """Yield the partition's rows in order, a batch at a time, without offsets."""
    for piece in order.pieces():
        rows = samples(piece, part.indicators) if part.indicators else piece
        yield from rows.iter_slices(BATCH_ROWS)


def samples(wide: pl.DataFrame, indicators: Sequence[str]) -> pl.DataFrame:
    """Return one row an indicator that was said, in the order of the rows and then of the indicators."""
    long = wide.unpivot(
        on=list(indicators), index=["ts_ms", "entity", "instance"], variable_name="indicator", value_name="value"
    )
    order = np.arange(long.height).reshape(len(indicators), wide.height).T.ravel()
    return long[order].filter(pl.col("value").is_not_null()).with_columns(form=pl.lit("gauge"))
