"""Picks, out of a run's history, the series that the page plots."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import polars as pl

from engine.types import Floats, Incident
from opsbrain.report.view import Plotted, SeriesKey

MAX_SYMPTOMS: Final = 4


def wanted(incidents: Iterable[Incident]) -> set[SeriesKey]:
    """Return the (entity, indicator) of all evidence, and of each incident's strangest symptoms."""
    keys: set[SeriesKey] = set()
    for incident in incidents:
        keys |= {(one.entity, one.indicator) for cause in incident.ranking.causes for one in cause.evidence}
        keys |= {(one.entity, one.indicator) for one in incident.anomalies}
    return keys


def pick(history: pl.DataFrame, keys: set[SeriesKey]) -> dict[SeriesKey, Plotted]:
    """Return the series `keys` out of `history`.

    Columns: entity, indicator, form, start_ms, value, expected_lo, expected_hi. Cost: one pass over the frame.
    Of a time that is told twice (a cost that was revised) the first is shown: it is what was scored.
    """
    chosen = pl.DataFrame(sorted(keys), schema={"entity": pl.String, "indicator": pl.String}, orient="row")
    key = ["entity", "indicator", "start_ms"]
    rows = history.join(chosen, on=key[:2], how="semi", maintain_order="left")
    rows = rows.unique(key, keep="first", maintain_order=True).sort(key)
    found: dict[SeriesKey, Plotted] = {}
    for (entity, indicator), part in rows.partition_by("entity", "indicator", as_dict=True).items():
        found[str(entity), str(indicator)] = Plotted(
            start_ms=part["start_ms"].to_numpy().astype(np.int64),
            value=_floats(part["value"]),
            lo=_floats(part["expected_lo"]),
            hi=_floats(part["expected_hi"]),
            form=str(part["form"][0]),
        )
    return found


def _floats(column: pl.Series) -> Floats:
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.float64)
