"""Rows from the future: a sender's wrong clock must not close everybody else's windows.

When a message came in is data too (the journal's record, Kafka's message timestamp), so a replay judges the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from engine.numbered import Numbered, Rows
from engine.types import DeadLetter

SKEWED: Final = 1_000_000
"""The part of a message's letters that stands for its rows from the future, beside those that its format refused."""


def not_from_the_future(
    rows: Rows, offsets: Sequence[int], received_ms: Sequence[int], input: str, ahead_ms: int
) -> tuple[Rows, list[DeadLetter]]:
    """Return the rows that lie at most `ahead_ms` after their message came in; the others are dead letters.

    Where rows lie ahead at all, those returned have a column `_clock`: their time, or when their message came in if
    that is earlier. It is what moves the watermark: a sender whose clock is ahead makes nobody else late.

    `received_ms` are aligned with `offsets`; 0 says that it is not known. Cost: two comparisons where nothing is wrong.
    """
    if isinstance(rows, Numbered):
        frame, letters = _judged(rows.frame, offsets, received_ms, input, ahead_ms)
        return (rows if frame is rows.frame else Numbered(frame, rows.names)), letters
    return _judged(rows, offsets, received_ms, input, ahead_ms)


def _judged(
    rows: pl.DataFrame, offsets: Sequence[int], received_ms: Sequence[int], input: str, ahead_ms: int
) -> tuple[pl.DataFrame, list[DeadLetter]]:
    if rows.is_empty() or not _any_ahead(rows, offsets, received_ms):
        return rows, []
    came = pl.DataFrame({"offset": offsets, "came_ms": received_ms}, schema={"offset": pl.Int64, "came_ms": pl.Int64})
    judged = rows.join(came.unique("offset"), on="offset", how="left", maintain_order="left")
    is_known = judged["came_ms"] > 0
    clock = pl.when(is_known).then(pl.min_horizontal("ts_ms", "came_ms")).otherwise(pl.col("ts_ms"))
    rows = rows.with_columns(judged.select(clock.alias("_clock")).to_series())
    early = is_known & (judged["ts_ms"] > judged["came_ms"] + ahead_ms)
    if not early.any():
        return rows, []
    letters = [
        DeadLetter(input, offset, _why(ahead), "", part=SKEWED, rows=rows)
        for offset, ahead, rows in judged.filter(early)
        .group_by("offset", maintain_order=True)
        .agg((pl.col("ts_ms") - pl.col("came_ms")).max(), pl.len().alias("rows"))
        .iter_rows()
    ]
    return rows.filter(~early), letters


def _any_ahead(rows: pl.DataFrame, offsets: Sequence[int], received_ms: Sequence[int]) -> bool:
    """Return whether a row lies after its message came in."""
    came = np.fromiter(received_ms, np.int64, len(received_ms))
    came[came <= 0] = np.iinfo(np.int64).max
    times = rows["ts_ms"].to_numpy()
    if not len(came) or int(times.max()) <= int(came.min()):
        return False
    places = np.searchsorted(np.asarray(offsets, np.int64), rows["offset"].to_numpy())
    return bool((times > came[places]).any())


def _why(ahead_ms: int) -> str:
    return f"its time lies {ahead_ms // 1000} s after it was received: check the sender's clock"
