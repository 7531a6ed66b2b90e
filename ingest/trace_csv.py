"""Reads CSV lines of a published trace as text columns, and says of each line that is no row why."""

from __future__ import annotations

import csv
from collections.abc import Sequence

import polars as pl

from ingest.trace_schema import Table
from ingest.trace_sieve import Sieve


def csv_lines(content: bytes, table: Table, sieve: Sieve) -> CsvLines | None:
    """Return what reads a file that begins with `content`; None, and a refusal, where its header lacks a column."""
    first = content.partition(b"\n")[0].decode("utf-8-sig", errors="replace").rstrip("\r")
    try:
        fields = next(csv.reader([first]), [])
    except csv.Error:  # no CSV at all
        fields = []
    if table.order:
        short = len(table.order) - len(fields)
        return CsvLines(table.order[: len(fields)] if 0 < short <= table.optional else table.order, table)
    lacking = [one.name for one in table.columns if one.needed and not set(one.names) & set(fields)]
    if lacking:
        sieve.line(1, f"the header lacks {', '.join(lacking)}, so the file is not read", first)
        return None
    named = [name if fields.index(name) == at else f"{name}_{at}" for at, name in enumerate(fields)]
    return CsvLines(named, table)


class CsvLines:
    """Reads CSV lines as text columns."""

    def __init__(self, names: Sequence[str], table: Table) -> None:
        self._names = list(names)
        used = {name for column in table.columns for name in column.names}
        self._used = [at for at, name in enumerate(self._names) if name in used]

    def at_once(self, content: bytes, lines: int) -> pl.DataFrame | None:
        """Return all rows, or None where any line is not one row (polars says so, or gives another number of rows)."""
        quoted = b'"' in content
        if not quoted and content.count(b",") != lines * (len(self._names) - 1):
            return None
        used = list(range(len(self._names))) if quoted else self._used
        try:
            frame = pl.read_csv(content, has_header=False, infer_schema=False, columns=used)
        except pl.exceptions.PolarsError:
            return None
        if frame.width != len(used):
            return None
        frame.columns = [self._names[at] for at in used]
        # a line that is too short is filled up in silence
        return None if frame.height != lines or (quoted and frame.to_series(-1).has_nulls()) else frame

    def one_by_one(self, lines: Sequence[bytes], row: int, sieve: Sieve) -> pl.DataFrame:
        """Return the rows of the lines that are one; refuse the others."""
        rows: list[list[str | int | None]] = []
        for number, line in enumerate(lines, start=row):
            try:
                fields = next(csv.reader([line.decode().rstrip("\r")], strict=True), [])
            except (csv.Error, UnicodeDecodeError) as error:
                reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else f"no CSV row: {error}"
                sieve.line(number, reason, line)
                continue
            if len(fields) != len(self._names):
                sieve.line(number, f"{len(fields)} fields instead of {len(self._names)}", line)
                continue
            rows.append([*(fields[at] or None for at in self._used), number])
        schema = {**dict.fromkeys((self._names[at] for at in self._used), pl.String), "row": pl.Int64}
        return pl.DataFrame(rows, schema=schema, orient="row")
