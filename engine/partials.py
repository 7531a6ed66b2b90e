"""Partials: what one input partition says of one window, per shard, in a form that merges exactly.

One long frame holds all kinds. Integers (counts, histogram buckets) merge by addition in any order; the one sum of
floats (gauges) is made over one partition's rows in their order and merged in the order of the inputs' names; counters
travel as their samples, because their increase can only be formed when all of them are together.

| form | indicator | bucket | n | total | samples |
|---|---|---|---|---|---|
| gauge | name | 0 | samples that are numbers | their sum | |
| counter | name (per instance) | 0 | samples | | value and time of each; of a delta also a 0 right after it |
| count | `log.severity.*`, `event.*` | 0 | occurrences | | |
| signature | a masked log line | 0 | lines | | |
| spans | operation | 0 | spans | errors | |
| latency | operation | histogram bucket | spans | | |
| cost | `cost.usd` | end of the period | 1 if an estimate | amount | |

`key` stands for (entity, form, indicator, instance) where rows were numbered (`engine.measures`), and is 0 elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl

from engine.ids import entity_part, shard_of
from engine.schemas import Kind
from engine.types import Floats, Ints

PARTIALS: Final = pl.Schema(
    {
        "shard": pl.Int32(),
        "entity": pl.String(),
        "form": pl.String(),
        "indicator": pl.String(),
        "instance": pl.String(),
        "bucket": pl.Int64(),
        "n": pl.Int64(),
        "total": pl.Float64(),
        "times": pl.List(pl.Int64()),
        "samples": pl.List(pl.Float64()),
        "key": pl.UInt64(),
    }
)

BUCKETS_PER_OCTAVE: Final = 4  # bounds grow by 19 %: a quantile is known to within 10 %
LOWEST_BUCKET_MS: Final = 0.01
HIGHEST_BUCKET: Final = 120  # 0.01 ms * 2^(120/4) is about 3 hours
BOUNDS_MS: Final[Floats] = np.array(
    [LOWEST_BUCKET_MS * 2.0 ** (b / BUCKETS_PER_OCTAVE) for b in range(HIGHEST_BUCKET + 2)]
)
"""Lower bound of each bucket, in milliseconds."""

SORT: Final = ["shard", "entity", "form", "indicator", "instance", "bucket"]


def with_shard(frame: pl.DataFrame, column: str, shards: int) -> pl.DataFrame:
    """Return `frame` with a column `shard` computed from the text in `column`, once per distinct text."""
    names = frame[column].unique().sort()
    numbers = pl.Series([shard_of(name, shards) for name in names], dtype=pl.Int32)
    return frame.with_columns(shard=pl.col(column).replace_strict(names, numbers, return_dtype=pl.Int32))


def partials_of(kind: Kind, rows: pl.DataFrame, shards: int) -> pl.DataFrame:
    """Return the partials of one window's rows of one kind (in their order), sorted, schema `PARTIALS`.

    Objects make none. Cost: one sort of the rows.
    """
    make = {"metrics": _metrics, "logs": _logs, "events": _events, "spans": _spans, "costs": _costs}.get(kind)
    if make is None or rows.is_empty():
        return PARTIALS.to_frame()
    frame = pl.concat([_complete(part) for part in make(rows)])
    return with_shard(frame, "entity", shards).select(PARTIALS.names()).sort(SORT)


def alarms_of(input: str, refused: Mapping[str, int], shards: int) -> pl.DataFrame:
    """Return partials that say which metrics, as `scope/metric`, had more series than are let in, and in how many rows.

    They are counts of an entity that stands for the input, so that an explosion of labels is detected, and shown, like
    everything else that goes wrong.
    """
    rows = [(*key.split("/", 1), count) for key, count in sorted(refused.items())]
    named = pl.DataFrame(rows, schema={"scope": pl.String, "metric": pl.String, "n": pl.Int64}, orient="row")
    return with_shard(
        _complete(
            named.select(
                "n",
                entity=pl.concat_str("scope", pl.lit(f"/source/-/{entity_part(input)}")),
                indicator=pl.concat_str(pl.lit("event.LabelCardinality:"), "metric"),
                form=pl.lit("count"),
            )
        ),
        "entity",
        shards,
    ).select(PARTIALS.names())


def _complete(part: pl.DataFrame) -> pl.DataFrame:
    defaults = {
        "instance": pl.lit(""),
        "bucket": pl.lit(0, pl.Int64),
        "n": pl.lit(0, pl.Int64),
        "total": pl.lit(0.0),
        "times": pl.lit([], pl.List(pl.Int64)),
        "samples": pl.lit([], pl.List(pl.Float64)),
        "key": pl.lit(0, pl.UInt64),
    }
    part = part.with_columns(value.alias(name) for name, value in defaults.items() if name not in part.columns)
    return part.select(pl.col(name).cast(dtype) for name, dtype in PARTIALS.items() if name != "shard")


def _metrics(rows: pl.DataFrame) -> Sequence[pl.DataFrame]:
    rows = rows.filter(pl.col("value").is_not_nan() & pl.col("value").is_not_null())
    gauges = rows.filter(~pl.col("form").is_in(("counter", "delta"))).sort("entity", "indicator", maintain_order=True)
    runs = gauges.select(run=pl.struct("entity", "indicator").rle_id())["run"].to_numpy()
    keys = gauges.select("entity", "indicator").unique(maintain_order=True)
    totals, counts = sums_of_runs(gauges["value"].to_numpy(), runs)
    counters = _deltas_as_counters(rows)
    return [
        keys.with_columns(form=pl.lit("gauge"), n=pl.Series(counts), total=pl.Series(totals)),
        counters.group_by("entity", "indicator", "instance", maintain_order=True).agg(
            form=pl.lit("counter").first(), n=pl.len(), times=pl.col("ts_ms"), samples=pl.col("value")
        ),
    ]


def _deltas_as_counters(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the samples of counters; a delta is one that begins again at 0, right after each row."""
    counters, deltas = rows.filter(pl.col("form") == "counter"), rows.filter(pl.col("form") == "delta")
    resets = deltas.with_columns(ts_ms=pl.col("ts_ms") + 1, value=pl.lit(0.0))
    return pl.concat([counters, deltas, resets]) if deltas.height else counters


def _logs(rows: pl.DataFrame) -> Sequence[pl.DataFrame]:
    severity = pl.concat_str(pl.lit("log.severity."), "severity")
    return [
        rows.group_by("entity", indicator=severity).agg(form=pl.lit("count").first(), n=pl.len()),
        rows.group_by("entity", indicator="signature").agg(form=pl.lit("signature").first(), n=pl.len()),
    ]


def _events(rows: pl.DataFrame) -> Sequence[pl.DataFrame]:
    reason = pl.concat_str(pl.lit("event."), "reason")
    return [rows.group_by("entity", indicator=reason).agg(form=pl.lit("count").first(), n=pl.col("count").sum())]


def _spans(rows: pl.DataFrame) -> Sequence[pl.DataFrame]:
    keys = ["entity", "indicator"]
    rows = rows.with_columns(indicator="operation", bucket=pl.Series(bucket_of(rows["duration_ms"].to_numpy())))
    return [
        rows.group_by(keys).agg(form=pl.lit("spans").first(), n=pl.len(), total=pl.col("error").sum().cast(pl.Float64)),
        rows.group_by(*keys, "bucket").agg(form=pl.lit("latency").first(), n=pl.len()),
    ]


def _costs(rows: pl.DataFrame) -> Sequence[pl.DataFrame]:
    # the last word on a period wins: the same period with another amount is a revision
    last = rows.sort("ts_ms", "offset", maintain_order=True).group_by("entity", "period_end_ms").last()
    # what is told before the period has ended cannot be all of it, whatever it calls itself
    estimated = pl.col("estimated") | (pl.col("ts_ms") < pl.col("period_end_ms"))
    return [
        last.select(
            "entity",
            form=pl.lit("cost"),
            indicator=pl.lit("cost.usd"),
            bucket="period_end_ms",
            n=estimated.cast(pl.Int64),
            total="amount_usd",
        )
    ]


def sums_of_runs(values: Floats, runs: Ints) -> tuple[Floats, Ints]:
    """Return the sum and the length of each run of equal numbers in sorted `runs`.

    A run's sum is made of its own values one after the other (a group-by may split work over threads), and so are the
    sums of numbered rows (`engine.measures`).
    """
    if not len(values):
        return np.empty(0), np.empty(0, np.int64)
    number = np.cumsum(np.r_[False, runs[1:] != runs[:-1]])
    return np.asarray(np.bincount(number, weights=values), np.float64), np.asarray(np.bincount(number), np.int64)


def bucket_of(duration_ms: Floats) -> Ints:
    """Return the histogram bucket of each duration: bucket b holds [bound(b), bound(b + 1)).

    A search in a table, not a logarithm: vectorised transcendental functions may round differently at the end of an
    array than in its middle, and the same duration must fall into the same bucket wherever it stands.
    """
    found = np.searchsorted(BOUNDS_MS, duration_ms, side="right") - 1
    return np.asarray(np.clip(found, 0, HIGHEST_BUCKET), dtype=np.int64)
