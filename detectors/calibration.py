"""Turns scores of any scale into probabilities: how often is a score at least this large when nothing is wrong?

Peaks over a threshold. Beyond `u` the excess of a score follows a generalised Pareto distribution for nearly any
distribution of the score itself (Pickands, 1975, Annals of Statistics 3, "Statistical inference using extreme order
statistics"; as a stream: Siffer et al., 2017, KDD, "Anomaly detection in streams with extreme value theory"). Its shape
and scale come from probability-weighted moments (Hosking & Wallis, 1987, Technometrics 29, "Parameter and quantile
estimation for the generalized Pareto distribution"), over all series of a group (a form, in one shard) together.

A series then bends its group's tail as far as it has shown itself different. Excesses mapped through the group's tail
are Exp(1) for a typical series; with a gamma prior on their rate the predictive tail is a Lomax: heavy while little is
known, exponential in the end (the conjugate pair; e.g. Gelman et al., "Bayesian Data Analysis", section 2.6).

Where we depart: `u` is fixed instead of an empirical quantile, since our scores are standardised already and counts of
exceedances over a fixed threshold are all a stream has to keep; a run of exceedances counts 1 + 1/2 + 1/3 + ..., so
that an incident in progress does not teach itself as normal (declustering, as in Smith, 1989, Statistical Science 4),
and when far more series of a group exceed in one window than chance would have it, they count as few; groups keep
histograms of whole numbers, so that no sum depends on the order of series.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from detectors.columns import Columns, Field
from engine.types import Bools, Floats, Ints, State

SMALLEST_P: Final = 1e-12
"""No finite history shows less than this."""

_U: Final = 2.5  # standard deviations; one in eighty for a normal score
_HALF_LIFE_WINDOWS: Final = 2_000.0
_EDGES: Final = np.concatenate([[0.0], np.geomspace(0.02, 2_000.0, 60)])
_MIDDLES: Final = np.concatenate([[0.01], np.sqrt(_EDGES[1:-1] * _EDGES[2:]), [2_000.0]])
_SHAPES: Final = (0.0, 0.6)

# What is believed of a group before it has shown anything, and what that belief weighs.
_PRIOR_SHAPE: Final = 0.05
_PRIOR_SCALE: Final = 0.4
_PRIOR_RATE: Final = 0.015
_PRIOR_EXCEEDANCES: Final = 30.0
# How much a series is believed to be like its group: in exceedances (tail) and in windows (rate).
_SERIES_EXCEEDANCES: Final = 12.0
_SERIES_WINDOWS: Final = 60.0
_LARGEST_LESSON: Final = 6.0  # an excess that the group's tail gives 1 in 400 exceedances; larger ones teach no more
# So many exceedances of a group in one window are still chance: four times the expected, and four.
_CROWD: Final = 4.0

_FIELDS: Final[dict[str, Field]] = {
    "windows": ("float32", 0.0, 0),
    "exceedances": ("float32", 0.0, 0),
    "excess": ("float32", 0.0, 0),
    "run": ("int32", 0, 0),
}


class TailCalibration:
    """Learns the tails of standardised scores (0 is ordinary, 1 a typical deviation) and gives probabilities.

    State: 16 bytes a series, and a histogram of 61 bins a group. Elementwise over series but for the histograms.
    Blind to: tails that change faster than its half-life of 2,000 windows.
    """

    __slots__ = ("_columns", "_histogram", "_rate", "_scale", "_shape", "_windows")

    def __init__(self, groups: int, resume: State | None = None) -> None:
        self._columns = Columns(_FIELDS, None if resume is None else resume["series"])
        if resume is None:
            self._histogram = np.zeros((groups, len(_MIDDLES)))
            self._windows = np.zeros(groups)
        else:
            self._histogram = np.array(resume["histogram"])
            self._windows = np.array(resume["windows"])
        self._fit_groups()

    def tail_p(self, series: Ints, group: Ints, score: Floats) -> Floats:
        """Return the probability of a score of at least `score`, (N,), in (0, 1]; NaN where the score is NaN.

        `series` are numbers in the shard's index, `group` the group of each, `score` at least 0. Pure.
        """
        rate, prior, mean = self._of_series(series, group)
        bulk = np.exp(np.log(rate) * _hazard(np.minimum(score, _U)) / _HAZARD_AT_U)
        excess = self._to_exponential(score - _U, group)
        tail = rate * np.exp(-prior * np.log1p(excess / (prior * mean)))
        p: Floats = np.maximum(np.where(score > _U, tail, bulk), SMALLEST_P)
        return p

    def score_at(self, p: float, series: Ints, group: Ints) -> Floats:
        """Return the score that has tail probability `p` (at most that of the threshold), (N,): a band's half-width."""
        rate, prior, mean = self._of_series(series, group)
        excess = prior * mean * np.expm1(np.log(np.maximum(rate / p, 1.0)) / prior)
        at: Floats = _U + self._excess_of(excess, group)
        return at

    def learn(self, series: Ints, group: Ints, score: Floats, exemplary: Bools) -> None:
        """Take the scores of one window into the tails; rows with NaN are skipped.

        `exemplary` (N,) says which rows may teach their group (one that is constant may not).
        """
        seen = np.flatnonzero(np.isfinite(score))
        self._learn_groups(series[seen], group[seen], score[seen], exemplary[seen])
        self._learn_series(series[seen], group[seen], score[seen])
        self._fit_groups()

    def snapshot(self) -> State:
        """Return a copy of all state."""
        return {
            "histogram": self._histogram.copy(),
            "windows": self._windows.copy(),
            "series": self._columns.snapshot(),
        }

    def _learn_groups(self, series: Ints, group: Ints, score: Floats, exemplary: Bools) -> None:
        groups, bins = self._histogram.shape
        self._columns.claim(int(series.max(initial=-1)) + 1)
        windows = np.bincount(group[exemplary], minlength=groups)
        first = exemplary & (score > _U) & (self._columns["run"][series] == 0)
        excess = np.minimum(score[first] - _U, self._excess_of(_LARGEST_LESSON, group[first]))
        bin_of = np.searchsorted(_EDGES, excess, side="right") - 1
        counts = np.bincount(group[first] * bins + bin_of, minlength=groups * bins).reshape(groups, bins)
        crowd = _CROWD * (1.0 + self._rate * windows) / np.maximum(counts.sum(axis=1), 1)
        keep = 0.5 ** (1.0 / _HALF_LIFE_WINDOWS)
        self._histogram = (self._histogram + counts * np.minimum(crowd, 1.0)[:, None]) * keep
        self._windows = (self._windows + windows) * keep

    def _learn_series(self, series: Ints, group: Ints, score: Floats) -> None:
        columns, keep = self._columns, np.float32(0.5 ** (1.0 / _HALF_LIFE_WINDOWS))
        over = score > _U
        run = np.where(over, np.minimum(columns["run"][series] + 1, 1 << 20), 0)
        weight = np.where(over, 1.0 / np.maximum(run, 1), 0.0)
        excess = np.minimum(self._to_exponential(score - _U, group), _LARGEST_LESSON)
        columns["run"][series] = run
        columns["windows"][series] = columns["windows"][series] * keep + 1.0
        columns["exceedances"][series] = columns["exceedances"][series] * keep + weight
        columns["excess"][series] = columns["excess"][series] * keep + weight * excess

    def _of_series(self, series: Ints, group: Ints) -> tuple[Floats, Floats, Floats]:
        """Return per row: rate of exceedances, shape of the Lomax, mean excess in units of the group's."""
        self._columns.room(int(series.max(initial=-1)) + 1)
        windows = self._columns["windows"][series].astype(np.float64)
        exceedances = self._columns["exceedances"][series].astype(np.float64)
        excess = self._columns["excess"][series].astype(np.float64)
        rate = (exceedances + _SERIES_WINDOWS * self._rate[group]) / (windows + _SERIES_WINDOWS)
        weight = exceedances + _SERIES_EXCEEDANCES
        return np.minimum(rate, 0.5), weight, (excess + _SERIES_EXCEEDANCES) / weight

    def _to_exponential(self, excess: Floats, group: Ints) -> Floats:
        """Return each excess as the Exp(1) variable that its group's tail makes of it; 0 below the threshold."""
        shape, units = self._shape[group], np.maximum(excess, 0.0) / self._scale[group]
        bent: Floats = np.where(shape > 0, np.log1p(shape * units) / np.where(shape > 0, shape, 1.0), units)
        return bent

    def _excess_of(self, exponential: Floats | float, group: Ints) -> Floats:
        """Return the inverse of `_to_exponential`."""
        shape = self._shape[group]
        curved = np.expm1(np.minimum(shape * exponential, 50.0)) / np.where(shape > 0, shape, 1.0)
        excess: Floats = self._scale[group] * np.where(shape > 0, curved, exponential)
        return excess

    def _fit_groups(self) -> None:
        """Fit each group's tail to prior and histogram by probability-weighted moments."""
        counts = self._histogram + _PRIOR_HISTOGRAM
        total = counts.sum(axis=1, keepdims=True)
        above = 1.0 - (np.cumsum(counts, axis=1) - counts / 2.0) / total
        mean = (counts * _MIDDLES).sum(axis=1) / total[:, 0]
        weighted = (counts * _MIDDLES * above).sum(axis=1) / total[:, 0]
        self._shape = np.clip(2.0 - mean / np.maximum(mean - 2.0 * weighted, 1e-9), *_SHAPES)
        self._scale = mean * (1.0 - self._shape)
        self._rate = total[:, 0] / (self._windows + _PRIOR_EXCEEDANCES / _PRIOR_RATE)


def score_of(tail_p: Floats) -> Floats:
    """Return the standardised score whose two-sided normal tail is about `tail_p`, (N,), at least 0."""
    hazard = -np.log(np.clip(tail_p, 1e-300, 1.0))
    score: Floats = (np.sqrt(0.798**2 + 4.0 * 0.383 * hazard) - 0.798) / (2.0 * 0.383)
    return score


def _hazard(score: Floats) -> Floats:
    """Return about -log of the two-sided tail of a standard normal score: exact at 0, within 4 % below `_U`."""
    return 0.798 * score + 0.383 * score * score


_HAZARD_AT_U: Final = float(_hazard(np.array(_U)))


def _prior_histogram() -> Floats:
    beyond = (1.0 + _PRIOR_SHAPE * np.append(_EDGES, np.inf) / _PRIOR_SCALE) ** (-1.0 / _PRIOR_SHAPE)
    histogram: Floats = -np.diff(beyond) * _PRIOR_EXCEEDANCES
    return histogram


_PRIOR_HISTOGRAM: Final = _prior_histogram()
