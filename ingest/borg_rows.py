"""What the two Borg traces share: their clock, events by type, machines and their attributes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import polars as pl

from ingest.trace_rows import OUTSIDE, ROUTINE, camel, entity, events, named, short, timed, told
from ingest.trace_sieve import Sieve

AFTER_US: Final = 1 << 62  # 2^63-1 says "after the trace", and loses its last digits where it went through a float
ENDS: Final = ("evict", "fail", "finish", "kill", "lost")
_WARNINGS: Final = ("evict", "fail", "lost", "remove")
_MICROSECONDS: Final = 1000  # a millisecond


def within(frame: pl.DataFrame, sieve: Sieve, column: str, epoch_ms: int) -> pl.DataFrame:
    """Return the rows of the trace's window with `ts_ms`; drop those that say before or after it."""
    time = pl.col(column)
    return timed(sieve.drop(frame, (time == 0) | (time >= AFTER_US), OUTSIDE), sieve, column, _MICROSECONDS, epoch_ms)


def typed(frame: pl.DataFrame, sieve: Sieve, types: Mapping[int, str], kept: Collection[str]) -> pl.DataFrame:
    """Return the rows of the types that are `kept`, with `type` as a word; the others are routine."""
    frame = frame.with_columns(type=named(pl.col("type"), types))
    frame = sieve.refuse(frame, pl.col("type").is_null(), "type is not known")
    return sieve.drop(frame, ~pl.col("type").is_in(list(kept)), ROUTINE)


def by_type(frame: pl.DataFrame, prefix: str, message: pl.Expr, *uid: str) -> pl.DataFrame:
    """Return an event a row, whose reason is `prefix` and the type, about the row's `entity`."""
    word = pl.col("type")
    made = pl.concat_str(*uid, separator="/")
    return events(frame, pl.col("entity"), camel(prefix, word), word.is_in(_WARNINGS), message, made)


def machine_events(frame: pl.DataFrame, sieve: Sieve, types: Mapping[int, str], scope: str) -> pl.DataFrame:
    """Return the events of machines that came, went or changed."""
    frame = typed(frame, sieve, types, types.values())
    message = told(
        platform=short(pl.col("platform_id")),
        capacity_in_cpus=pl.col("cpus"),
        capacity_in_memory=pl.col("memory"),
    )
    frame = frame.with_columns(entity=entity(scope, "node", pl.col("machine_id")))
    return by_type(frame, "Machine", message, "machine_id")


def attribute_events(frame: pl.DataFrame, scope: str) -> pl.DataFrame:
    """Return the events of attributes of machines that changed or were deleted."""
    deleted = pl.col("deleted").str.to_lowercase().is_in(["true", "1"]).fill_null(False)
    reason = pl.when(deleted).then(pl.lit("MachineAttributeDeleted")).otherwise(pl.lit("MachineAttributeChanged"))
    message = told(attribute=short(pl.col("name")), value=short(pl.col("value")))
    who = entity(scope, "node", pl.col("machine_id"))
    return events(frame, who, reason, pl.lit(False), message, pl.concat_str("machine_id", "name", separator="/"))
