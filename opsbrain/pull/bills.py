"""Joins the files of a FOCUS export into one body a day.

An export is written as many files, and again and again while its month lasts. What a message says of an entity and day
replaces what was said before, so whatever the files say of a day has to come in one message; and a day that says what
it said last time need not come again. Lines that differ in nothing but the amount and the hour are added up, which
makes a bill of gigabytes one of a few megabytes.
"""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Iterable
from typing import Final

import polars as pl

from engine.errors import DataError
from ingest.cost_rows import DAY_MS, no_amount
from ingest.focus_table import DAYS, LONGEST_DAYS, NAMES, TIMES, by_day, read_focus

UNDATED: Final = -1
"""Stands for the day of lines that cannot be read; they come in a body of their own, to be refused with a reason."""

_TEXTS: Final = [name for name in NAMES if name not in TIMES]
_KEYS: Final = ["period_start_ms", *_TEXTS]


def days_of(files: Iterable[bytes], now_ms: int, max_bytes: int) -> dict[int, bytes]:
    """Return a body of at most `max_bytes` for each day that is over at `now_ms`, by the day's start.

    The same files give the same bodies. Raises DataError when a file is no bill, or a day is too large.
    """
    held = _nothing()
    undated: list[pl.DataFrame] = []
    for file in files:
        lines = read_focus(file)
        fit = lines.select(_fits()).to_series()
        undated.append(lines.filter(~fit))
        held = _added_up(pl.concat([held, by_day(lines.filter(fit)).select(held.columns)]))
    over = held.filter(pl.col("period_start_ms") + DAY_MS <= now_ms)
    bodies = {
        int(day): _body(part, max_bytes)
        for (day,), part in over.partition_by("period_start_ms", as_dict=True, maintain_order=True).items()
    }
    bad = pl.concat(undated) if undated else _nothing()
    if bad.height:
        bodies[UNDATED] = _body(_as_told(bad), max_bytes)
    return bodies


def _fits() -> pl.Expr:
    """Return which lines have an amount and a period."""
    whole = (pl.col("start_ms") < pl.col("end_ms")) & (DAYS <= LONGEST_DAYS)
    return (~no_amount() & whole).fill_null(False)


def _nothing() -> pl.DataFrame:
    texts: dict[str, type[pl.DataType]] = dict.fromkeys(_TEXTS, pl.String)
    return pl.DataFrame(schema={"period_start_ms": pl.Int64, **texts, "amount_usd": pl.Float64})


def _added_up(lines: pl.DataFrame) -> pl.DataFrame:
    groups = lines.sort(_KEYS, maintain_order=True).group_by(_KEYS, maintain_order=True).agg("amount_usd")
    totals = [math.fsum(amounts) for amounts in groups["amount_usd"].to_list()]
    return groups.with_columns(amount_usd=pl.Series(totals, dtype=pl.Float64))


def _as_told(lines: pl.DataFrame) -> pl.DataFrame:
    """Return lines that cannot be used with the period that they name, where they name one."""
    return lines.rename({"start_ms": "period_start_ms"}).select(*_KEYS, "end_ms", "amount_usd")


def _body(lines: pl.DataFrame, max_bytes: int) -> bytes:
    end = pl.col("end_ms") if "end_ms" in lines.columns else pl.col("period_start_ms") + DAY_MS
    table = lines.select(
        *_TEXTS,
        _time(pl.col("period_start_ms")).alias("ChargePeriodStart"),
        _time(end).alias("ChargePeriodEnd"),
        pl.col("amount_usd").alias("EffectiveCost"),
    )
    out = io.BytesIO()
    table.write_csv(out)
    body = out.getvalue()
    if len(body) > max_bytes:
        body = gzip.compress(body, 6, mtime=0)
    if len(body) > max_bytes:
        raise DataError(f"a day of it is larger than {max_bytes:,} bytes, even compressed; raise http.max_body_mb")
    return body


def _time(ms: pl.Expr) -> pl.Expr:
    return pl.from_epoch(ms, time_unit="ms").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
