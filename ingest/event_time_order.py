"""Puts rows into the order of event time, however many there are: a sort on disk, in bounded memory.

Published traces are cut into files by anything but time. Rows are taken in batches; what does not fit into memory is
written as runs, each sorted by time (Parquet, whose row groups say which times they hold). Reading goes through time in
pieces of a few ten thousand rows, and each piece is fetched from all runs and sorted by all its columns. So the result
is the same whatever order the files and their rows came in, and exact repeats meet and are dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

import numpy as np
import polars as pl

from engine.errors import SourceError

HELD_BYTES: Final = 48 << 20  # of rows held before a run is written: several tables may be read at once
PIECE_ROWS: Final = 50_000
_GROUP_ROWS: Final = 10_000  # of a row group: what a piece needs not is mostly left unread


Key = TypeVar("Key", int, str)


@dataclass(frozen=True, slots=True)
class _Run:
    path: Path
    first: int
    last: int


class EventTimeOrder:
    """Takes frames of one schema in any order; gives their distinct rows in the order of the column `key`.

    key         an integer column: a time, or anything else that rows are to meet by
    step        how finely rows are counted by key, in its unit; pieces end between steps
    split_by    a text column by which the rows of one key may be parted where they are too many; None to keep them
                together
    held_bytes  how many bytes of rows are held before a run is written
    repeats     how many rows were exact repeats, by the piece they were found in; known when it was read

    Disk: about a third of the memory that the rows would take. Raises SourceError when there is no room there.
    """

    def __init__(
        self,
        key: str = "ts_ms",
        step: int = 60_000,
        split_by: str | None = "entity",
        piece_rows: int = PIECE_ROWS,
        held_bytes: int | None = None,
    ) -> None:
        self._key, self._step, self._split_by = key, step, split_by
        self._piece_rows, self._held_bytes = piece_rows, HELD_BYTES if held_bytes is None else held_bytes
        self._held: list[pl.DataFrame] = []
        self._held_size = 0.0
        self._runs: list[_Run] = []
        self._rows: Counter[int] = Counter()
        self._folder: TemporaryDirectory[str] | None = None
        self.repeats: dict[int, int] = {}

    def add(self, frame: pl.DataFrame) -> None:
        """Take rows."""
        if frame.is_empty():
            return
        steps, counts = np.unique(frame[self._key].to_numpy() // self._step, return_counts=True)
        self._rows.update(dict(zip(steps.tolist(), counts.tolist(), strict=True)))
        self._held.append(frame)
        self._held_size += frame.estimated_size()
        if self._held_size >= self._held_bytes:
            self._write()

    def pieces(self) -> Iterator[pl.DataFrame]:
        """Yield the distinct rows in order, a piece at a time. May be asked again; take no more rows from then on."""
        if self._runs and self._held:
            self._write()
        held = pl.concat(self._held) if self._held else None
        self._held = [] if held is None else [held]
        for number, part in enumerate(self._parts(held) if self._rows else ()):
            distinct = part.unique(maintain_order=False).sort(self._sorting(part), nulls_last=True)
            self.repeats[number] = part.height - distinct.height
            yield distinct

    def close(self) -> None:
        """Let go of all rows, on disk too."""
        self._held, self._runs = [], []
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _sorting(self, part: pl.DataFrame) -> list[str]:
        first = [self._key] if self._split_by is None else [self._key, self._split_by]
        return first + [name for name in part.columns if name not in first]

    def _parts(self, held: pl.DataFrame | None) -> Iterator[pl.DataFrame]:
        for first, last, rows in _grouped(self._rows, self._piece_rows):
            begin, end = first * self._step, (last + 1) * self._step
            if rows <= self._piece_rows:
                yield self._fetch(held, begin, end)
            else:
                yield from self._split(held, begin, end)

    def _split(self, held: pl.DataFrame | None, begin: int, end: int) -> Iterator[pl.DataFrame]:
        """Yield one step's rows by the keys in it, and those of a key that has too many by the text column."""
        keys, counts = np.unique(self._fetch(held, begin, end, self._key), return_counts=True)
        counted = dict(zip(keys.tolist(), counts.tolist(), strict=True))
        for first, last, rows in _grouped(counted, self._piece_rows):
            if rows <= self._piece_rows or self._split_by is None:
                yield self._fetch(held, first, last + 1)
            else:
                yield from self._split_one(held, first, self._split_by)

    def _split_one(self, held: pl.DataFrame | None, key: int, by: str) -> Iterator[pl.DataFrame]:
        counted = dict(self._fetch(held, key, key + 1, by).group_by(by).len().iter_rows())
        for first, last, _ in _grouped(counted, self._piece_rows):
            yield self._fetch(held, key, key + 1, where=pl.col(by).is_between(pl.lit(first), pl.lit(last)))

    def _fetch(
        self, held: pl.DataFrame | None, begin: int, end: int, *columns: str, where: pl.Expr | None = None
    ) -> pl.DataFrame:
        """Return the rows, or some columns of them, whose key is in [begin, end)."""
        wanted = (pl.col(self._key) >= begin) & (pl.col(self._key) < end)
        wanted = wanted if where is None else wanted & where
        if held is not None:
            return held.filter(wanted).select(columns or held.columns)
        runs = [run.path for run in self._runs if run.first < end and run.last >= begin]
        try:
            found = pl.scan_parquet(runs).filter(wanted)
            return (found.select(columns) if columns else found).collect()
        except (pl.exceptions.ComputeError, OSError) as error:
            raise SourceError(f"{self._room()}: {error}; give a TMPDIR that nothing else clears") from error

    def _write(self) -> None:
        rows = pl.concat(self._held).sort(self._key)
        self._held, self._held_size = [], 0.0
        path = self._room() / f"run-{len(self._runs):06d}.parquet"
        try:
            rows.write_parquet(path, compression="lz4", row_group_size=_GROUP_ROWS, statistics=True)
        except (pl.exceptions.ComputeError, OSError) as error:
            raise SourceError(f"{path}: {error}; make room there, or name another folder in TMPDIR") from error
        self._runs.append(_Run(path, int(rows[self._key][0]), int(rows[self._key][-1])))

    def _room(self) -> Path:
        if self._folder is None:
            self._folder = TemporaryDirectory(
                prefix="opsbrain-trace-"
            )  # mode 0700; goes with this object at the latest
        return Path(self._folder.name)


def _grouped(counted: Mapping[Key, int], most: int) -> Iterator[tuple[Key, Key, int]]:
    """Yield first key, last key and rows of as many keys in a row as have `most` rows together; at least one."""
    group: tuple[Key, Key, int] | None = None
    for key in sorted(counted):
        if group is not None and group[2] + counted[key] <= most:
            group = (group[0], key, group[2] + counted[key])
            continue
        if group is not None:
            yield group
        group = (key, key, counted[key])
    if group is not None:
        yield group
