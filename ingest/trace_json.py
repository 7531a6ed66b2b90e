"""Reads JSON lines of a published trace, nested or flat, and says of each line that is no row why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import polars as pl

from ingest.refused import UNREADABLE, why
from ingest.trace_schema import RAW, Column, Table, Type
from ingest.trace_sieve import Sieve


class JsonLines:
    """Reads JSON lines: whole numbers as text (BigQuery writes them so), others as numbers."""

    def __init__(self, table: Table) -> None:
        self._columns = table.columns
        self._schema: dict[str, Any] = {}
        nested: dict[str, dict[str, Any]] = {}
        for column in table.columns:
            dtype = RAW[column.type]
            self._schema |= dict.fromkeys(column.names, dtype)
            if len(column.path) == 2:
                nested.setdefault(column.path[0], {})[column.path[1]] = dtype
        self._schema |= {name: pl.Struct(fields) for name, fields in nested.items()}

    def at_once(self, content: bytes, lines: int) -> pl.DataFrame | None:
        """Return all rows, or None where a line is none, or is not of the types that are usual."""
        try:
            frame = pl.read_ndjson(content, schema=self._schema)
        except pl.exceptions.PolarsError:
            return None
        return frame if frame.height == lines else None

    def one_by_one(self, lines: Sequence[bytes], row: int, sieve: Sieve) -> pl.DataFrame:
        """Return the rows of the lines that are one; refuse the others."""
        rows: list[list[Any]] = []
        for number, line in enumerate(lines, start=row):
            try:
                read = msgspec.json.decode(line, type=dict[str, Any])
                rows.append([*(_plain(self._value(read, column), column.type) for column in self._columns), number])
            except UNREADABLE as error:
                sieve.line(number, why(line, error), line)
            except _Mistyped as error:
                sieve.line(number, str(error), line)
        schema = {column.name: RAW[column.type] for column in self._columns} | {"row": pl.Int64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def _value(self, read: dict[str, Any], column: Column) -> Any:
        value: Any = read
        for name in column.path or ():
            value = value.get(name) if isinstance(value, dict) else None
        if column.path and value is not None:
            return value
        return next((read[name] for name in column.names if read.get(name) is not None), None)


class _Mistyped(ValueError):
    """A value is not of its column's type."""


def _plain(value: Any, type: Type) -> Any:
    if value is None:
        return None
    if type == "numbers":
        if not isinstance(value, list):
            raise _Mistyped("a list of numbers is something else")
        return [_plain(one, "number") for one in value]
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _Mistyped("a number or text is something else")
    if type != "number":
        return str(value)
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise _Mistyped("a number is something else") from None
