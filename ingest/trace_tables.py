"""Reads tables of published traces as batches of typed columns, from CSV with or without a header, JSON lines, Parquet.

A `Table` says which columns there are; every row of its files is either in a batch, or refused with its file, row and
reason, or left out on purpose and counted. `Sieve` keeps those accounts.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final, Literal

import msgspec
import polars as pl

from engine.types import DeadLetter
from ingest.csv_file import excerpt
from ingest.refused import UNREADABLE, why
from ingest.trace_files import Chunk, TraceFile, contents, is_parquet

MOST_TOLD: Final = 1_000
"""How many rows a table's dead letters name one by one; the rest are counted by file and reason."""

_PIECE_BYTES: Final = 1 << 16  # how much around a bad line is read line by line
_PARQUET_ROWS: Final = 20_000
_NUMBER_IN_LIST: Final = r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?"

Type = Literal["text", "integer", "number", "numbers"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column that is used.

    name        what it is called here
    type        "integer" whole; "number", where what is not finite becomes NaN; "numbers" a list of them; "text"
    needed      whether a row without it is refused
    path        how the publisher calls it, one name a level of nesting, when that is another name
    also        other names under which it is found at the top level
    """

    name: str
    type: Type = "text"
    needed: bool = False
    path: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names at the top level, the likeliest first."""
        path = self.path or (self.name,)
        return tuple(dict.fromkeys((".".join(path), "_".join(path), self.name, *self.also)))


@dataclass(frozen=True, slots=True)
class Table:
    """One table: the names that its files' names begin with, and its columns.

    order       the publisher's columns by position, for CSV files without a header; empty where they have one
    optional    how many of the last of them may be missing
    """

    names: tuple[str, ...]
    columns: tuple[Column, ...]
    order: tuple[str, ...] = ()
    optional: int = 0


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


def batches(files: Iterable[TraceFile], table: Table, sieve: Sieve) -> Iterator[pl.DataFrame]:
    """Yield the rows of a table's files: its columns, typed, and `row`, their number in the file from 1 on."""
    for file in files:
        if is_parquet(file):
            sieve.file = file.name
            yield from (typed(frame, table, sieve) for frame in _parquet(file, table, sieve))
            continue
        for name, chunks in contents(file):
            sieve.file = name
            yield from (typed(frame, table, sieve) for frame in _lines(chunks, table, sieve))


def typed(frame: pl.DataFrame, table: Table, sieve: Sieve) -> pl.DataFrame:
    """Return the table's columns in their types; refuse rows whose values are not of them, or that lack needed ones."""
    for column in table.columns:
        raw = pl.col(column.name)
        if frame.schema[column.name] == pl.String:
            frame = frame.with_columns(pl.when(raw.str.strip_chars() != "").then(raw))
        if column.needed:
            frame = sieve.refuse(frame, raw.is_null(), f"{column.name} is missing")
        cast = _cast(raw, frame.schema[column.name], column.type)
        frame = sieve.refuse(frame, raw.is_not_null() & cast.is_null(), f"{column.name} is not a number")
        frame = frame.with_columns(cast.alias(column.name))
    return frame


def _cast(raw: pl.Expr, dtype: pl.DataType, type: Type) -> pl.Expr:
    if type == "text":
        return raw.cast(pl.String, strict=False)
    if type == "numbers":
        texts = raw.str.extract_all(_NUMBER_IN_LIST) if dtype == pl.String else raw
        return texts.cast(pl.List(pl.Float64), strict=False)
    number = raw.cast(pl.Float64, strict=False) + 0.0  # there is one 0, not also a -0
    if type == "number":
        return pl.when(number.is_finite() | number.is_null()).then(number).otherwise(float("nan"))
    if dtype.is_integer():
        return raw.cast(pl.Int64, strict=False)
    whole = pl.when(number == number.round()).then(number).cast(pl.Int64, strict=False)  # 300.0, as pandas writes it
    return pl.coalesce(raw.cast(pl.Int64, strict=False), whole) if dtype == pl.String else whole


def _coalesced(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Return the columns under our names, from whichever of the publisher's are there; null where there is none."""
    return frame.select(pl.col("row"), *(_found(frame, column).alias(column.name) for column in table.columns))


def _found(frame: pl.DataFrame, column: Column) -> pl.Expr:
    found = [pl.col(name) for name in column.names if name in frame.columns]
    if len(column.path) > 1 and isinstance(frame.schema.get(column.path[0]), pl.Struct):
        found.insert(0, reduce(lambda outer, name: outer.struct.field(name), column.path[1:], pl.col(column.path[0])))
    return pl.coalesce(found) if found else pl.lit(None, _JSON_TYPES[column.type])


def _lines(chunks: Iterable[Chunk], table: Table, sieve: Sieve) -> Iterator[pl.DataFrame]:
    """Yield the rows of a text file. The first byte tells JSON lines from CSV."""
    read: _Csv | _Json | None = None
    row = 1
    for chunk in chunks:
        content = chunk.content
        if read is None and content.strip():
            read = _Json(table) if content.lstrip()[:1] == b"{" else _csv(content, table, sieve)
            if read is None:
                return
            if isinstance(read, _Csv) and not table.order:
                content, row = content.partition(b"\n")[2], 2
        if read is not None and content:
            yield from (_coalesced(one, table) for one in _pieces(content, row, read, sieve))
            row += _count_lines(content)
        if chunk.problem:
            sieve.line(row, chunk.problem)


def _count_lines(content: bytes) -> int:
    return content.count(b"\n") + (not content.endswith(b"\n"))


def _pieces(content: bytes, row: int, read: _Csv | _Json, sieve: Sieve) -> Iterator[pl.DataFrame]:
    """Yield the rows of some lines; where a line is no row, what is around it line by line."""
    frame = read.at_once(content, _count_lines(content))
    if frame is not None:
        yield frame.with_columns(row=pl.int_range(row, row + frame.height, dtype=pl.Int64))
        return
    if len(content) <= _PIECE_BYTES:
        yield read.one_by_one(content.removesuffix(b"\n").split(b"\n"), row, sieve)
        return
    middle = content.rfind(b"\n", 0, len(content) // 2) + 1 or content.find(b"\n", len(content) // 2) + 1
    if not 0 < middle < len(content):
        yield read.one_by_one([content], row, sieve)
        return
    yield from _pieces(content[:middle], row, read, sieve)
    yield from _pieces(content[middle:], row + content.count(b"\n", 0, middle), read, sieve)


def _csv(content: bytes, table: Table, sieve: Sieve) -> _Csv | None:
    first = content.partition(b"\n")[0].decode("utf-8-sig", errors="replace").rstrip("\r")
    try:
        fields = next(csv.reader([first]), [])
    except csv.Error:  # no CSV at all
        fields = []
    if table.order:
        short = len(table.order) - len(fields)
        return _Csv(table.order[: len(fields)] if 0 < short <= table.optional else table.order, table)
    lacking = [one.name for one in table.columns if one.needed and not set(one.names) & set(fields)]
    if lacking:
        sieve.line(1, f"the header lacks {', '.join(lacking)}, so the file is not read", first)
        return None
    named = [name if fields.index(name) == at else f"{name}_{at}" for at, name in enumerate(fields)]
    return _Csv(named, table)


class _Csv:
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
        except (pl.exceptions.ComputeError, pl.exceptions.NoDataError):
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


class _Json:
    """Reads JSON lines: whole numbers as text (BigQuery writes them so), others as numbers."""

    def __init__(self, table: Table) -> None:
        self._columns = table.columns
        self._schema: dict[str, Any] = {}
        nested: dict[str, dict[str, Any]] = {}
        for column in table.columns:
            dtype = _JSON_TYPES[column.type]
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
        schema = {column.name: _JSON_TYPES[column.type] for column in self._columns} | {"row": pl.Int64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def _value(self, read: dict[str, Any], column: Column) -> Any:
        value: Any = read
        for name in column.path or ():
            value = value.get(name) if isinstance(value, dict) else None
        if column.path and value is not None:
            return value
        return next((read[name] for name in column.names if read.get(name) is not None), None)


_JSON_TYPES: Final[dict[Type, Any]] = {
    "text": pl.String,
    "integer": pl.String,
    "number": pl.Float64,
    "numbers": pl.List(pl.Float64),
}


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


_PARQUET_DAMAGE: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


def _parquet(file: TraceFile, table: Table, sieve: Sieve) -> Iterator[pl.DataFrame]:
    """Yield the rows of a Parquet file, a slice at a time."""
    lazy = pl.scan_parquet(file.path)
    try:
        schema = lazy.collect_schema()
        height = int(lazy.select(pl.len()).collect().item())
    except _PARQUET_DAMAGE as error:
        sieve.line(0, f"is no readable Parquet file: {str(error).splitlines()[0]}")
        return
    tops = {name for column in table.columns for name in (*column.names, *column.path[:1])}
    lazy = lazy.select(name for name in schema if name in tops)
    for start in range(0, height, _PARQUET_ROWS):
        try:
            part = lazy.slice(start, _PARQUET_ROWS).collect()
        except _PARQUET_DAMAGE as error:
            sieve.rows(start + 1, f"is damaged: {str(error).splitlines()[0]}", height - start)
            return
        numbered = part.with_columns(row=pl.int_range(start + 1, start + part.height + 1, dtype=pl.Int64))
        yield _coalesced(_unwrapped(numbered), table)


def _unwrapped(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with lists as BigQuery writes them, {list: [{element: x}]}, as plain ones."""
    for name, dtype in frame.schema.items():
        column = pl.col(name)
        if isinstance(dtype, pl.Struct) and [field.name for field in dtype.fields] == ["list"]:
            frame = frame.with_columns(column.struct.field("list").alias(name))
            dtype = frame.schema[name]
        if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct) and len(dtype.inner.fields) == 1:
            only = dtype.inner.fields[0].name
            frame = frame.with_columns(column.list.eval(pl.element().struct.field(only)).alias(name))
    return frame


Rows = Callable[[pl.DataFrame, Sieve], pl.DataFrame]
"""Turns a batch of a table into rows of a partition."""
