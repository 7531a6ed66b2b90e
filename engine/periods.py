"""Which periods of cost are scored when a daily window closes, in what order, and which only correct history.

A bill tells many periods at once, tells them again with other amounts, and tells of a day before all of it is in. So:

- a period is scored once, with the amount known then, in the order in which periods end
- an estimate, or what was told before the period had ended, waits until it is final or `settle_days` old; periods of
  the same entity that ended later wait for it
- what is told of a period after it was scored, or after a later one of its entity was, corrects the history that models
  are fitted on, and nothing else
- only periods that ended shortly before they became known raise anomalies: the others are history that is learned

Time is the window's; windows close in order whatever came when, so the same rows give the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from engine.types import State

DAY_MS: Final = 86_400_000
_KEY: Final = ["entity", "end_ms"]

TOLD: Final = pl.Schema(
    {"shard": pl.Int32, "entity": pl.String, "end_ms": pl.Int64, "amount": pl.Float64, "estimated": pl.Boolean}
)
_ROWS: Final = pl.Schema(TOLD | {"known_ms": pl.Int64, "scored": pl.Boolean})


@dataclass(frozen=True, slots=True)
class PeriodsConfig:
    """How cost becomes known.

    settle_days     how long after a period's end its estimate counts as its amount. Shorter: told sooner, of less
    news_days       how long before the window in which it became known a period may have ended to raise anomalies:
                    what a first bill tells of last month is nobody's incident today
    remember_days   how long the amounts of scored periods are kept, to tell a revision from a repeat; periods that lie
                    further ahead are not taken
    """

    settle_days: int = 2
    news_days: int = 3
    remember_days: int = 62


@dataclass(frozen=True, slots=True)
class Closed:
    """What a window closed.

    fresh       to score: shard, entity, end_ms, amount and whether it may raise anomalies (`news`), by end and entity
    revised     other amounts of what is history: shard, entity, end_ms, amount, by end and entity
    """

    fresh: pl.DataFrame
    revised: pl.DataFrame


class Periods:
    """The periods of all entities of one step.

    State: a row a period that waits, is of the last `remember_days`, or is the latest scored of its entity.
    """

    def __init__(self, config: PeriodsConfig, resume: State | None = None) -> None:
        self._config = config
        self._rows: pl.DataFrame = resume["rows"] if resume else _ROWS.to_frame()

    def close(self, told: pl.DataFrame, start_ms: int, end_ms: int) -> Closed | None:
        """Take what a window told (schema `TOLD`, a row a period); return what is scored and revised with it."""
        if told.is_empty() and self._rows["scored"].all():
            return None
        told = self._known(told.filter(pl.col("end_ms") <= end_ms + self._config.remember_days * DAY_MS), start_ms)
        late = ~pl.col("scored") & (pl.col("end_ms") <= pl.col("until_ms"))
        revised = told.filter(late | (pl.col("scored") & (pl.col("amount") != pl.col("before"))))
        told = told.with_columns(scored=pl.col("scored") | late).select(_ROWS.names())
        rows = pl.concat([self._rows.join(told, on=_KEY, how="anti"), told]).sort(_KEY)
        rows = rows.with_columns(now=self._is_due(end_ms))
        fresh = rows.filter("now").with_columns(news=self._is_news())
        self._rows = self._kept(rows.with_columns(scored=pl.col("scored") | pl.col("now")), start_ms)
        columns = ["shard", "entity", "end_ms", "amount"]
        return Closed(_ordered(fresh.select(*columns, "news")), _ordered(revised.select(columns)))

    def snapshot(self) -> State:
        """Return all state."""
        return {"version": 1, "rows": self._rows}

    def _known(self, told: pl.DataFrame, start_ms: int) -> pl.DataFrame:
        """Return `told` with what was known before: since when, if it was scored, its amount, its entity's latest."""
        until = self._rows.filter("scored").group_by("entity").agg(until_ms=pl.col("end_ms").max())
        before = self._rows.select(*_KEY, "known_ms", "scored", before="amount")
        joined = told.join(before, on=_KEY, how="left").join(until, on="entity", how="left")
        return joined.with_columns(
            known_ms=pl.col("known_ms").fill_null(start_ms),
            scored=pl.col("scored").fill_null(value=False),
            until_ms=pl.col("until_ms").fill_null(-1),
        )

    def _is_due(self, end_ms: int) -> pl.Expr:
        """Return which rows, sorted by entity and end, are scored now: each entity's until the first that waits."""
        settled = pl.col("end_ms") + self._config.settle_days * DAY_MS <= end_ms
        ready = pl.col("scored") | ~pl.col("estimated") | settled
        return ready.cast(pl.Int8).cum_min().over("entity").cast(pl.Boolean) & ~pl.col("scored")

    def _is_news(self) -> pl.Expr:
        return pl.col("known_ms") - pl.col("end_ms") <= self._config.news_days * DAY_MS

    def _kept(self, rows: pl.DataFrame, start_ms: int) -> pl.DataFrame:
        young = pl.col("end_ms") >= start_ms - self._config.remember_days * DAY_MS
        latest = pl.col("end_ms") == pl.col("end_ms").filter(pl.col("scored")).max().over("entity")
        return rows.filter(~pl.col("scored") | young | latest).select(_ROWS.names())


def _ordered(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort("end_ms", "entity")
