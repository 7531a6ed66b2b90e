"""Rows of metrics whose series are numbers: on the hot path a row costs what it measures, not what it is called.

What a series is called is said once, in `SeriesNames`; a row has its number there. Numbers are internal: they depend on
what came first, so nothing that leaves a step may depend on them or on their order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from engine.schemas import SCHEMAS

SERIES: Final = pl.Schema(
    {"entity": pl.String, "indicator": pl.String, "instance": pl.String, "form": pl.String, "identity": pl.UInt64}
)

NUMBERED: Final = pl.Schema({"ts_ms": pl.Int64, "offset": pl.Int64, "value": pl.Float64, "series": pl.UInt32})


@dataclass(frozen=True, slots=True)
class SeriesNames:
    """What numbered series are called.

    frame       schema SERIES; row n is the series with the number n. An identity is never 0 and stands there only once
    generation  numbers hold within one: a later frame of it has only more rows. Another one begins anew
    """

    frame: pl.DataFrame
    generation: int


@dataclass(frozen=True, slots=True)
class Numbered:
    """Rows of metrics in their order: `frame` has the schema NUMBERED, and where clocks are wrong `_clock` (`skew`)."""

    frame: pl.DataFrame
    names: SeriesNames

    @property
    def height(self) -> int:
        """Return how many rows there are."""
        return self.frame.height

    def expanded(self) -> pl.DataFrame:
        """Return the rows with the columns of `SCHEMAS["metrics"]` in their order (and `_clock` where it was)."""
        named = self.names.frame[self.frame["series"].to_numpy()]
        rows = self.frame.drop("series").hstack(named)
        return rows.select(*SCHEMAS["metrics"], *(name for name in rows.columns if name == "_clock"))


Rows = pl.DataFrame | Numbered
"""Rows of one kind; those of metrics may be numbered."""


def expanded(rows: Rows) -> pl.DataFrame:
    """Return rows with all of their columns."""
    return rows.expanded() if isinstance(rows, Numbered) else rows
