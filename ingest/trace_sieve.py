"""Keeps account of the rows of a table that are not used."""

from __future__ import annotations

from collections import Counter
from typing import Final

import polars as pl

from engine.types import DeadLetter
from ingest.csv_file import excerpt

MOST_TOLD: Final = 1_000
"""How many rows a table's dead letters name one by one; the rest are counted by file and reason."""


class Sieve:
    """Accounts for the rows of one table that are not used: refused ones, and those left out on purpose."""

    def __init__(self) -> None:
        self.file = ""
        self.dropped: Counter[str] = Counter()
        self._told: list[tuple[str, int, str, str]] = []
        self._more: dict[tuple[str, str], tuple[int, int]] = {}

    def line(self, row: int, reason: str, body: bytes | str = b"") -> None:
        """Refuse one row."""
        if len(self._told) < MOST_TOLD:
            self._told.append((self.file, row, reason, excerpt(body) if body else ""))
        else:
            self._count(row, reason, 1)

    def rows(self, row: int, reason: str, count: int) -> None:
        """Refuse `count` rows from `row` on at once."""
        self._count(row, reason, count)

    def refuse(self, frame: pl.DataFrame, bad: pl.Expr, reason: str) -> pl.DataFrame:
        """Return the rows of `frame` that are not `bad`, and refuse the others. `frame` has their numbers in `row`."""
        mask = frame.select(bad.fill_null(True)).to_series()
        if not mask.any():
            return frame
        refused = frame.filter(mask)
        told = min(refused.height, MOST_TOLD - len(self._told))
        for one in refused.head(told).iter_rows(named=True):
            row = one.pop("row")
            self.line(row, reason, ",".join("" if value is None else str(value) for value in one.values()))
        if refused.height > told:
            self._count(refused["row"][told], reason, refused.height - told)
        return frame.filter(~mask)

    def drop(self, frame: pl.DataFrame, where: pl.Expr, reason: str) -> pl.DataFrame:
        """Return the rows of `frame` that are not `where` (null is not), and count the others as left out."""
        kept = frame.filter(~where.fill_null(False))
        if kept.height < frame.height:
            self.dropped[reason] += frame.height - kept.height
        return kept

    def letters(self, input: str, offset: int) -> list[DeadLetter]:
        """Return the dead letters, with offsets from `offset` on."""
        told = [(f"{file}, row {row}: {reason}", body, 1) for file, row, reason, body in self._told]
        more = [
            (f"{file}, from row {row} on, further rows: {reason}", "", count)
            for (file, reason), (row, count) in sorted(self._more.items())
        ]
        return [
            DeadLetter(input, offset + number, reason, body, rows=rows)
            for number, (reason, body, rows) in enumerate(told + more)
        ]

    def _count(self, row: int, reason: str, count: int) -> None:
        first, counted = self._more.get((self.file, reason), (row, 0))
        self._more[self.file, reason] = (min(first, row), counted + count)
