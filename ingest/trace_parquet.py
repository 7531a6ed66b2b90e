"""Reads the Parquet files of a published trace, a slice at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl

from ingest.trace_files import TraceFile
from ingest.trace_schema import Table
from ingest.trace_sieve import Sieve

SLICE_ROWS: Final = 20_000
_DAMAGE: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


def parquet_slices(file: TraceFile, table: Table, sieve: Sieve) -> Iterator[pl.DataFrame]:
    """Yield the rows of a file under the publisher's names, with `row`; refuse what is damaged."""
    lazy = pl.scan_parquet(file.path)
    try:
        schema = lazy.collect_schema()
        height = int(lazy.select(pl.len()).collect().item())
    except _DAMAGE as error:
        sieve.line(0, f"is no readable Parquet file: {str(error).splitlines()[0]}")
        return
    tops = {name for column in table.columns for name in (*column.names, *column.path[:1])}
    lazy = lazy.select(name for name in schema if name in tops)
    for start in range(0, height, SLICE_ROWS):
        try:
            part = lazy.slice(start, SLICE_ROWS).collect()
        except _DAMAGE as error:
            sieve.rows(start + 1, f"is damaged: {str(error).splitlines()[0]}", height - start)
            return
        numbered = part.with_columns(row=pl.int_range(start + 1, start + part.height + 1, dtype=pl.Int64))
        yield _unwrapped(numbered)


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
