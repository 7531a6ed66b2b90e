"""Reads tables of published traces as batches of typed columns, from CSV with or without a header, JSON lines, Parquet.

Every row of a table's files is either in a batch, or refused with its file, row and reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from typing import Final

import polars as pl

from ingest.trace_csv import CsvLines, csv_lines
from ingest.trace_files import Chunk, TraceFile, contents, is_parquet
from ingest.trace_json import JsonLines
from ingest.trace_parquet import parquet_slices
from ingest.trace_schema import RAW, Column, Table, Type
from ingest.trace_sieve import Sieve

_PIECE_BYTES: Final = 1 << 16  # how much around a bad line is read line by line
_NUMBER_IN_LIST: Final = r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?"


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
    return pl.coalesce(found) if found else pl.lit(None, RAW[column.type])


def _lines(chunks: Iterable[Chunk], table: Table, sieve: Sieve) -> Iterator[pl.DataFrame]:
    """Yield the rows of a text file. The first byte tells JSON lines from CSV."""
    read: CsvLines | JsonLines | None = None
    row = 1
    for chunk in chunks:
        content = chunk.content
        if read is None and content.strip():
            read = JsonLines(table) if content.lstrip()[:1] == b"{" else csv_lines(content, table, sieve)
            if read is None:
                return
            if isinstance(read, CsvLines) and not table.order:
                content, row = content.partition(b"\n")[2], 2
        if read is not None and content:
            yield from (_coalesced(one, table) for one in _pieces(content, row, read, sieve))
            row += _count_lines(content)
        if chunk.problem:
            sieve.line(row, chunk.problem)


def _count_lines(content: bytes) -> int:
    return content.count(b"\n") + (not content.endswith(b"\n"))


def _pieces(content: bytes, row: int, read: CsvLines | JsonLines, sieve: Sieve) -> Iterator[pl.DataFrame]:
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


def _parquet(file: TraceFile, table: Table, sieve: Sieve) -> Iterator[pl.DataFrame]:
    yield from (_coalesced(part, table) for part in parquet_slices(file, table, sieve))
