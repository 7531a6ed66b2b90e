"""What the detectors that compare with a forecast share: finding series in models fitted by scope, scoring errors."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from detectors.calibration import TailCalibration
from engine.ids import scope_of
from engine.types import Floats, Ints, Scores, SeriesIndex, State, Tick
from models import scales

BAND_P: Final = 1e-3
"""The expected band leaves this probability outside."""


class Places:
    """Where each series of the index stands in the models' own lists: follows from index and models, never state.

    Models hold `entities` and `indicators` of equal length; arrays beside them are in the same order. Several scopes
    may share a shard; their models are numbered in the order of their names.
    """

    __slots__ = ("_known", "_models", "forms", "model", "row")

    def __init__(self, models: dict[str, State]) -> None:
        self._models = [model for _, model in sorted(models.items())]
        self._known: dict[str, tuple[int, dict[tuple[str, str], int]]] = {
            scope: (at, {pair: row for row, pair in enumerate(zip(one["entities"], one["indicators"], strict=True))})
            for at, (scope, one) in enumerate(sorted(models.items()))
        }
        self.model: Ints = np.empty(0, dtype=np.int64)
        self.row: Ints = np.empty(0, dtype=np.int64)
        self.forms = scales.codes([])

    def extend(self, index: SeriesIndex) -> None:
        """Place the series that are new in `index`; costs as much as there are new ones."""
        new = index.all()[len(self.row) :]
        if not new:
            return
        found = [self._known.get(scope_of(one.entity), (-1, {})) for one in new]
        rows = [known.get((one.entity, one.indicator), -1) for one, (_, known) in zip(new, found, strict=True)]
        self.model = np.concatenate([self.model, np.array([at for at, _ in found], dtype=np.int64)])
        self.row = np.concatenate([self.row, np.array(rows, dtype=np.int64)])
        self.forms = np.concatenate([self.forms, scales.codes(new)])

    def gather(self, name: str, series: Ints) -> Floats:
        """Return the number that the models' array `name` holds for each series, (N,); NaN where there is none."""
        gathered = np.full(len(series), np.nan)
        for model, mine in self.by_model(series):
            gathered[mine] = model[name][self.row[series[mine]]]
        return gathered

    def by_model(self, series: Ints) -> list[tuple[State, Ints]]:
        """Return each model with the positions in `series` of those it knows; models that know none are left out."""
        known = self.row[series] >= 0
        parts = [(model, np.flatnonzero(known & (self.model[series] == at))) for at, model in enumerate(self._models)]
        return [(model, mine) for model, mine in parts if mine.size]


class Forecast(NamedTuple):
    """What a model expected of each series of a tick, and how far off it was; every array is (N,)."""

    forms: scales.Codes
    expected: Floats  # on the forms' scales; NaN when not ready
    usual: Floats  # usual error on the forms' scales
    z: Floats  # signed error in usual errors


def compared(tick: Tick, forms: scales.Codes, expected: Floats, usual: Floats) -> Forecast:
    """Return the forecast with the error that `tick` shows."""
    return Forecast(forms, expected, usual, (scales.forward(tick.values, forms) - expected) / usual)


def scores_of(forecast: Forecast, tick: Tick, tails: TailCalibration) -> Scores:
    """Return the scores of a forecast's errors, two-sided, with the band that leaves one in a thousand outside."""
    raw, forms = np.abs(forecast.z), forecast.forms.astype(np.int64)
    half = tails.score_at(BAND_P, tick.series, forms) * forecast.usual
    return Scores(
        raw=raw,
        tail_p=tails.tail_p(tick.series, forms, raw),
        direction=np.nan_to_num(np.sign(forecast.z)).astype(np.int8),
        expected_lo=scales.backward(forecast.expected - half, forecast.forms),
        expected_hi=scales.backward(forecast.expected + half, forecast.forms),
    )


def learn_tails(forecast: Forecast, tick: Tick, tails: TailCalibration) -> None:
    """Calibrate by a forecast's errors."""
    everyone = np.ones(len(tick.series), dtype=np.bool_)
    tails.learn(tick.series, forecast.forms.astype(np.int64), np.abs(forecast.z), everyone)


def copied(value: Any) -> Any:
    """Return a deep copy of plain data."""
    if isinstance(value, dict):
        return {key: copied(one) for key, one in value.items()}
    if isinstance(value, list):
        return [copied(one) for one in value]
    return value.copy() if isinstance(value, np.ndarray) else value
