"""Root causes from one wide table: a time column and one column a series, `<entity>_<indicator>`, and an onset.

Every column's shift after the onset becomes an anomaly, and the ranker of the engine does the rest: the same scores,
the same abstentions. A table that cannot be judged (no rows before or after the onset, nothing but constants) abstains;
the order of the columns never decides anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from engine.errors import DataError, SourceError
from engine.ids import content_id
from engine.topology import Topology
from engine.types import Anomaly, Floats, History, Incident, Phase, Ranking, Severity
from rca.columns import split_columns
from rca.graph_file import topology_of
from rca.ranker import RankerConfig
from rca.shifts import MIN_ROWS, Shift, shifts

if TYPE_CHECKING:
    import networkx as nx

_TIME_NAMES = ("time", "timestamp", "ts", "ts_ms", "datetime", "date", "unix_timestamp")
_MILLISECONDS: Final = 1e11  # above this a number is milliseconds: as seconds it would be the year 5138
_NOT_SHIFTED: Final = 0.02  # a column's shift at least this likely by chance is no sign


def read_frame(path: Path) -> pl.DataFrame:
    """Return the table in a CSV or Parquet file, told apart by content; raise SourceError when it cannot be read."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if not magic:
            raise SourceError(f"{path}: the file is empty")
        if magic == b"PAR1":
            return pl.read_parquet(path)
        return pl.read_csv(path, infer_schema_length=None, null_values=["", "NA", "NaN", "nan", "null"])
    except OSError as error:
        raise SourceError(f"{path}: cannot read the table: {error.strerror or error}") from error
    except pl.exceptions.PolarsError as error:
        raise SourceError(f"{path}: cannot read the table: {str(error).splitlines()[0]}") from error


def parse_time(text: str) -> float:
    """Return a time as milliseconds: Unix seconds, Unix milliseconds, or ISO 8601 (UTC if it names no zone).

    Raises DataError when it is none of them.
    """
    try:
        value = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError as error:
            raise DataError(f"'{text}' is no time: give Unix seconds, Unix milliseconds or ISO 8601") from error
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
    if not np.isfinite(value):
        raise DataError(f"'{text}' is no time")
    return value if abs(value) >= _MILLISECONDS else value * 1000


def rank_frame(
    frame: pl.DataFrame, onset: str | float, graph: nx.DiGraph[str] | None = None, config: RankerConfig | None = None
) -> dict[str, Any]:
    """Return `{"ranking": [{"entity", "score", "evidence": [...]}], "abstained": None or why}`.

    `frame` has the time first or in a column named like one, `onset` is a time as in `parse_time`; `graph` has an edge
    from every caller to its callee. Times in the answer are written as in the table's time column. Raises DataError
    when the table has no time column or no column named `<entity>_<indicator>`.
    """
    ranking, times = _rank(frame, onset, graph, config or RankerConfig(max_causes=50, max_evidence=8))
    return {
        "ranking": [
            {
                "entity": cause.entity,
                "score": cause.score,
                "evidence": [
                    {
                        "indicator": one.indicator,
                        "kind": one.kind,
                        "direction": one.direction,
                        "strength": one.strength,
                        "at": times.get(one.at_ms, one.at_ms),
                    }
                    for one in cause.evidence
                ],
            }
            for cause in ranking.causes
        ],
        "abstained": ranking.abstained,
    }


def _rank(
    frame: pl.DataFrame, onset: str | float, graph: nx.DiGraph[str] | None, config: RankerConfig
) -> tuple[Ranking, dict[int, Any]]:
    time_name = _time_column(frame)
    splits = split_columns(
        (name for name in frame.columns if name != time_name), sorted(graph.nodes) if graph is not None else ()
    )
    if not splits:
        raise DataError("no column is named <entity>_<indicator>, such as cart_cpu")
    times_ms, said = _times(frame[time_name])
    order = np.argsort(times_ms, kind="stable")
    times_ms = times_ms[order]
    shown = {int(at): said[int(place)] for at, place in zip(times_ms, order, strict=True)}
    onset_ms = parse_time(str(onset))
    after = int(np.searchsorted(times_ms, onset_ms, side="left"))
    if after < MIN_ROWS:
        return Ranking((), f"only {after} rows lie before the onset; {MIN_ROWS} say what is normal"), shown
    if after == len(times_ms):
        return Ranking((), "no row lies at or after the onset"), shown
    names = sorted(splits)
    values = _numbers(frame.select(names))[order]
    kinds = {indicator: number for number, indicator in enumerate(sorted({one for _, one in splits.values()}))}
    peers = np.array([kinds[splits[name][1]] for name in names], dtype=np.int64)
    steps = np.diff(times_ms)
    step_ms = int(np.median(steps[steps > 0])) if (steps > 0).any() else 1
    # A row stamped less than a step before the onset may hold some of it already: stamps are starts here, ends there.
    until = int(np.searchsorted(times_ms, onset_ms - step_ms, side="right"))
    moved = shifts(names, values, until if until >= MIN_ROWS else after, after, peers)
    found = [one for one in moved if one.tail_p < _NOT_SHIFTED]
    anomalies = tuple(_anomaly(one, splits[one.column], times_ms) for one in found)
    if not anomalies:
        return Ranking((), "no column moved after the onset by more than it usually does"), shown
    topology = topology_of(graph) if graph is not None else Topology()
    recent = _recent(moved, splits, times_ms)
    history = History("", step_ms, int(times_ms[0]), int(times_ms[-1]) + step_ms, recent)
    return config.build().rank(_incident(anomalies, int(times_ms[after])), topology, history), shown


def _time_column(frame: pl.DataFrame) -> str:
    if not frame.columns:
        raise DataError("the table has no columns")
    named = [name for name in frame.columns if name.strip().lower() in _TIME_NAMES]
    first = frame.columns[0]
    if first in named or not named:
        if not named and not (frame[first].dtype.is_numeric() or frame[first].dtype.is_temporal()):
            raise DataError("no time column: the first column should be 'time' or 'timestamp'")
        return first
    return named[0]


def _times(column: pl.Series) -> tuple[Floats, list[Any]]:
    """Return a time column in milliseconds, and each of its cells as it was written."""
    if column.is_null().any():
        raise DataError(f"column '{column.name}': a row has no time")
    said = column.to_list()
    if column.dtype.is_temporal():
        milliseconds = column.cast(pl.Datetime("ms")).to_physical().cast(pl.Float64).to_numpy()
        return milliseconds, [str(one) for one in said]
    if column.dtype.is_numeric():
        values = column.cast(pl.Float64).to_numpy()
        if not np.isfinite(values).all():
            raise DataError(f"column '{column.name}': a row has no time")
        return values if np.abs(values).max(initial=0.0) >= _MILLISECONDS else values * 1000.0, said
    return np.array([parse_time(str(one)) for one in said], dtype=np.float64), said


def _numbers(frame: pl.DataFrame) -> Floats:
    """Return the columns as (rows, columns) float64; what is no number is missing."""
    return frame.select(pl.all().cast(pl.Float64, strict=False).fill_null(float("nan"))).to_numpy()


def _recent(moved: Sequence[Shift], splits: dict[str, tuple[str, str]], times_ms: Floats) -> pl.DataFrame:
    """Return every column's strongest row after the onset in the columns of the ranker's `features`."""
    return pl.DataFrame(
        {
            "start_ms": pl.Series([int(times_ms[one.at]) for one in moved], dtype=pl.Int64),
            "entity": pl.Series([splits[one.column][0] for one in moved], dtype=pl.String),
            "indicator": pl.Series([splits[one.column][1] for one in moved], dtype=pl.String),
            "form": pl.Series(["gauge"] * len(moved), dtype=pl.String),
            "value": pl.Series([one.observed for one in moved], dtype=pl.Float64),
            "tail_p": pl.Series([one.tail_p for one in moved], dtype=pl.Float64),
            "direction": pl.Series([one.direction for one in moved], dtype=pl.Int64),
            "expected_lo": pl.Series([one.expected_lo for one in moved], dtype=pl.Float64),
            "expected_hi": pl.Series([one.expected_hi for one in moved], dtype=pl.Float64),
        }
    )


def _anomaly(one: Shift, split: tuple[str, str], times_ms: Floats) -> Anomaly:
    entity, indicator = split
    start_ms = int(times_ms[one.at])
    return Anomaly(
        id=content_id("anm", entity, indicator, start_ms),
        entity=entity,
        indicator=indicator,
        form="gauge",
        detectors=("shift",),
        start_ms=start_ms,
        end_ms=int(times_ms[-1]),
        direction=one.direction,
        expected_lo=one.expected_lo,
        expected_hi=one.expected_hi,
        observed=one.observed,
        tail_p=one.tail_p,
        severity=Severity.WARNING,
    )


def _incident(anomalies: Sequence[Anomaly], onset_ms: int) -> Incident:
    entities = tuple(sorted({one.entity for one in anomalies}))
    return Incident(
        id=content_id("inc", "wide", onset_ms, entities),
        revision=1,
        scope="",
        phase=Phase.OPEN,
        severity=Severity.WARNING,
        title="shift",
        opened_ms=onset_ms,
        updated_ms=onset_ms,
        resolved_ms=None,
        entities=entities,
        anomalies=tuple(anomalies),
        changes=(),
        transitions=(),
        ranking=Ranking((), "not ranked yet"),
    )
