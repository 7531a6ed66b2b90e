"""Anomalies of a table: every row is a window, every column a series; scored strictly as they come.

The same detectors and alarm budget as in the pipeline: a window of a series counts as anomalous when a value as
strange is as rare as `anomaly_tail_p`, and rare enough that chance alone keeps within the budget over all series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from engine.ports import DetectorConfig
from engine.types import Bools, Floats, Scores, Series, SeriesIndex, Severity, Tick
from opsbrain.table import Table, time_after

DAY_MS: Final = 86_400_000
_JOIN_WINDOWS: Final = 2  # one quiet window between two strange ones does not make them two anomalies
_CRITICAL: Final = 1e-3  # this much rarer than needed is critical


@dataclass(frozen=True, slots=True)
class Found:
    """One anomaly of one series: a stretch of windows, and the strangest of them. JSON of `opsbrain detect`."""

    series: str
    start: Any
    end: Any
    direction: int
    severity: str
    tail_p: float
    expected: tuple[float | None, float | None]
    observed: float | None
    detectors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """What all detectors think of a whole table; arrays are (rows, series). `best` is the number of the detector."""

    tail_p: Floats
    best: np.ndarray[Any, np.dtype[np.int64]]
    direction: np.ndarray[Any, np.dtype[np.int8]]
    lo: Floats
    hi: Floats


def threshold(table: Table, anomaly_tail_p: float, budget_per_day: float) -> float:
    """Return the `tail_p` at or below which a window counts: the rarer of the setting's and the budget's share."""
    windows_per_day = DAY_MS / table.step_ms
    return min(anomaly_tail_p, budget_per_day / max(windows_per_day, 1.0) / len(table.names))


def detect(
    table: Table,
    detectors: Sequence[DetectorConfig],
    limit: float,
    seed: int = 0,
    progress: Callable[[int], None] = lambda rows: None,
) -> list[Found]:
    """Return the anomalies of `table`, by start and series. Cost: one tick a row for each detector."""
    scored = score_table(table, detectors, seed, progress)
    with np.errstate(invalid="ignore"):
        strange = scored.tail_p <= limit
    names = [one.name for one in detectors]
    found = [
        (begin, column, _found(table, scored, column, begin, end, names, limit))
        for column in range(len(table.names))
        for begin, end in _stretches(strange[:, column])
    ]
    return [one for _, _, one in sorted(found, key=lambda item: item[:2])]


def score_table(
    table: Table,
    detectors: Sequence[DetectorConfig],
    seed: int = 0,
    progress: Callable[[int], None] = lambda rows: None,
) -> Scored:
    """Return what `detectors` think of every cell: each row is scored first and then learned.

    Where several are ready, the smallest `tail_p` counts, times their number (Bonferroni).
    """
    running = [one.build(seed) for one in detectors]
    shape = table.values.shape
    tails, lo, hi = (np.full((len(running), *shape), np.nan) for _ in range(3))
    direction = np.zeros((len(running), *shape), dtype=np.int8)
    for row, tick in enumerate(_ticks(table)):
        for number, detector in enumerate(running):
            scores: Scores = detector.score(tick)
            detector.learn(tick)
            tails[number, row], direction[number, row] = scores.tail_p, scores.direction
            lo[number, row], hi[number, row] = scores.expected_lo, scores.expected_hi
        progress(row + 1)
    ready = np.isfinite(tails).sum(axis=0)
    best = np.argmin(np.nan_to_num(tails, nan=np.inf), axis=0)
    chosen = tuple(np.take_along_axis(part, best[None], axis=0)[0] for part in (tails, direction, lo, hi))
    fused = np.minimum(chosen[0] * np.maximum(ready, 1), 1.0)
    return Scored(fused, best, chosen[1], chosen[2], chosen[3])


def _ticks(table: Table) -> Iterator[Tick]:
    index = SeriesIndex([Series(f"table/series/-/{name}", name) for name in table.names])
    numbers = np.arange(len(table.names), dtype=np.int64)
    none = np.zeros(len(table.names), dtype=np.int64)
    step = table.step_ms
    for row, start in enumerate(table.ms.tolist()):
        values = table.values[row].copy()
        values.flags.writeable = False
        yield Tick(0, step, start, start + step, index, numbers, values, none)


def _stretches(strange: Bools) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of the rows that belong together."""
    rows = np.flatnonzero(strange)
    if rows.size == 0:
        return
    breaks = np.flatnonzero(np.diff(rows) > _JOIN_WINDOWS)
    begins = rows[np.concatenate([[0], breaks + 1])]
    ends = rows[np.concatenate([breaks, [rows.size - 1]])]
    yield from zip(begins.tolist(), ends.tolist(), strict=True)


def _found(
    table: Table, scored: Scored, column: int, begin: int, end: int, names: Sequence[str], limit: float
) -> Found:
    stretch = scored.tail_p[begin : end + 1, column]
    peak = begin + int(np.nanargmin(stretch))
    tail_p = float(scored.tail_p[peak, column])
    members = scored.best[begin : end + 1, column][stretch <= limit]
    return Found(
        series=table.names[column],
        start=table.said[begin],
        end=time_after(table, end),
        direction=int(scored.direction[peak, column]),
        severity=(Severity.CRITICAL if tail_p <= limit * _CRITICAL else Severity.WARNING).value,
        tail_p=tail_p,
        expected=(_finite(scored.lo[peak, column]), _finite(scored.hi[peak, column])),
        observed=_finite(table.values[peak, column]),
        detectors=tuple(names[number] for number in sorted(set(members.tolist()))),
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
