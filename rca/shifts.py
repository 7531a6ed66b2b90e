"""How far did each column move after a given time? Robust deviations from what it was before, as tail probabilities.

What was normal is the median of the rows just before the onset, as many as there are after it (at least `_RECENT`), so
that neither last week's level nor a slow drift is taken for a shift. A deviation is counted in units of the usual
spread (the largest of 1.4826 times the median absolute deviation, 0.741 times the interquartile range, both of those
rows, and the median step from row to row of all rows before), never less than a share of the level and of what peers
(the same indicator of other entities) usually spread. Tails are those of Student's t with few degrees of freedom: real
series have heavy ones, and a thousand deviations should not drown ten. Missing values are left out; a column with fewer
than `MIN_ROWS` numbers on either side is not ready and shows nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.types import Bools, Floats, Ints

MIN_ROWS: Final = 2
_RECENT: Final = 3
_FREEDOM: Final = 3.0
_LEVEL_SHARE: Final = 0.01  # a spread below 1 % of the level is not believed: rounding, a cache, a quiet hour
_PEER_SHARE: Final = 0.1
_SEEN: Final = 3.0  # deviations from which on a row counts as part of the shift


@dataclass(frozen=True, slots=True)
class Shift:
    """What one column did: `tail_p` in (0, 1], where it began, and the values to show for it."""

    column: str
    tail_p: float
    direction: int
    at: int  # row
    expected_lo: float
    expected_hi: float
    observed: float


def shifts(columns: list[str], values: Floats, until: int, after: int, peers: Ints) -> list[Shift]:
    """Return the shift of every column that is ready.

    `values` is (rows, columns) with NaN for missing; rows up to `until` are before the onset, those from `after` on
    after it, and those between may hold either; `peers` (columns,) says which columns are of one indicator. Cost: a few
    passes over the numbers.
    """
    before, later = values[:until], values[after:]
    recent = before[max(0, until - max(_RECENT, len(later))) :]
    ready = (np.isfinite(before).sum(axis=0) >= MIN_ROWS) & (np.isfinite(later).sum(axis=0) >= 1)
    found = []
    levels, scales, rows = _normal(before, recent, ready)
    floors = _floors(levels, scales, peers, ready)
    for place in np.flatnonzero(ready):
        scale = max(scales[place], floors[place])
        if scale > 0:
            found.append(_shift(columns[place], later[:, place], after, levels[place], scale, int(rows[place])))
    return [one for one in found if one is not None]


def _normal(before: Floats, recent: Floats, ready: Bools) -> tuple[Floats, Floats, Ints]:
    """Return level and spread of every column before the onset, and how many rows the level rests on."""
    levels, scales = np.full(ready.size, np.nan), np.full(ready.size, np.nan)
    rows = np.zeros(ready.size, dtype=np.int64)
    for place in np.flatnonzero(ready):
        column = before[:, place]
        known = column[np.isfinite(column)]
        near = recent[np.isfinite(recent[:, place]), place]
        rows[place] = max(near.size, 1)  # a level known from long ago only is as uncertain as one from a single row
        near = near if near.size >= MIN_ROWS else known[-_RECENT:]
        levels[place] = np.median(near)
        steps = np.abs(np.diff(known))
        low, high = np.quantile(near, [0.25, 0.75])
        deviation = np.median(np.abs(near - levels[place]))
        # A difference of two rows spreads by the square root of two more than one row does.
        scales[place] = max(1.4826 * deviation, 0.741 * (high - low), 1.4826 / np.sqrt(2.0) * np.median(steps))
    return levels, scales, rows


def _floors(levels: Floats, scales: Floats, peers: Ints, ready: Bools) -> Floats:
    floors = _LEVEL_SHARE * np.abs(levels)
    for peer in np.unique(peers[ready]):
        mine = ready & (peers == peer)
        spreads = scales[mine][scales[mine] > 0]
        if spreads.size:
            floors[mine] = np.maximum(floors[mine], _PEER_SHARE * np.median(spreads))
    return floors


def _shift(column: str, later: Floats, after: int, level: float, scale: float, rows: int) -> Shift | None:
    known = np.flatnonzero(np.isfinite(later))
    deviations = (later[known] - level) / scale
    strengths = np.sort(np.abs(deviations))
    # One wild row among many is a spike, not a shift: the level that one row in ten still exceeds.
    strong = float(strengths[int(np.ceil(0.9 * strengths.size)) - 1])
    if strong == 0.0:
        return None
    seen = np.flatnonzero(np.abs(deviations) >= min(_SEEN, strong))
    peak = int(known[np.flatnonzero(np.abs(deviations) >= strong)[0]])
    inflation = 1.0 + 2.0 / rows  # a level known from few rows is itself uncertain
    tail_p = float((1.0 + (strong / inflation) ** 2 / _FREEDOM) ** (-(_FREEDOM + 1.0) / 2.0))
    return Shift(
        column=column,
        tail_p=min(1.0, max(tail_p, 1e-300)),
        direction=int(np.sign(later[peak] - level)),
        at=after + int(known[seen[0]]),
        expected_lo=float(level - _SEEN * scale),
        expected_hi=float(level + _SEEN * scale),
        observed=float(later[peak]),
    )
