"""Maps ids of a published trace to the names under which their things come back."""

from __future__ import annotations

from typing import Final

import polars as pl

from ingest.trace_rows import entity, short
from ingest.trace_source import TraceSource

_WAITING: Final = 100_000


def logical_names(source: TraceSource, table: str, id: str, name: str) -> pl.DataFrame:
    """Return the columns `id` and `service`, the logical name, of everything in a table: some 60 bytes each.

    Of a thing with several names the first in order is taken, so that the order of the files makes no difference.
    """
    known = pl.DataFrame(schema={id: pl.String, "service": pl.String})
    waiting: list[pl.DataFrame] = []
    for batch in source.batches(table):
        waiting.append(batch.filter(pl.col(name).is_not_null()).select(id, service=short(pl.col(name))).unique())
        if sum(one.height for one in waiting) > known.height + _WAITING:
            known, waiting = _first([known, *waiting], id), []
    return _first([known, *waiting], id)


def with_service(frame: pl.DataFrame, names: pl.DataFrame, scope: str, id: str) -> pl.DataFrame:
    """Return the rows with `entity`: the service of their `id`, by its logical name where that is known."""
    joined = frame.join(names, on=id, how="left", maintain_order="left")
    return joined.with_columns(entity=entity(scope, "service", pl.coalesce("service", id)))


def _first(parts: list[pl.DataFrame], id: str) -> pl.DataFrame:
    return pl.concat(parts).group_by(id).agg(pl.col("service").min())
