"""Picks the strangest few of each group, without sorting the many that are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from engine.types import Floats, Ints

_UNKNOWN: Final = 2.0  # after every probability
_SHIFT: Final = np.uint64(40)
_COARSE: Final = np.uint64(24)  # what is cut off of a probability's 64 bits: the upper 40 tell nearly all apart


def strangest(groups: Ints, tail_p: Floats, most: int, ranks: Callable[[], Ints]) -> Ints:
    """Return the rows, in ascending order, of the `most` lowest `tail_p` of each group; NaN comes last.

    groups : (N,)
        from 0 to less than 2**24
    ranks
        gives (N,) what decides between equal ones, and is asked only if it must

    Cost: one sort of N whole numbers. Below 2, the bits of floats that are not negative are in the floats' order.
    """
    if not len(groups):
        return np.empty(0, np.int64)
    tail = np.where(np.isnan(tail_p), _UNKNOWN, tail_p) + 0.0
    coarse = (groups.astype(np.uint64) << _SHIFT) | (tail.view(np.uint64) >> _COARSE)
    ordered = np.sort(coarse)
    group = (ordered >> _SHIFT).astype(np.int64)
    starts = np.searchsorted(group, np.arange(int(group[-1]) + 1))
    ends = np.r_[starts[1:], len(group)]
    limit = ordered[np.maximum(np.minimum(starts + most, ends) - 1, 0)]
    rows = np.flatnonzero(coarse <= limit[groups])
    crowded = np.bincount(groups[rows], minlength=len(starts)) > most
    if not crowded.any():
        return rows
    close = crowded[groups[rows]]
    tied = rows[close]
    order = tied[np.lexsort((ranks()[tied], tail[tied], groups[tied]))]
    begins = np.flatnonzero(np.r_[True, np.diff(groups[order]) != 0])
    place = np.arange(len(order)) - np.repeat(begins, np.diff(np.r_[begins, len(order)]))
    return np.sort(np.concatenate([rows[~close], order[place < most]]))
