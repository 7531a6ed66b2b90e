"""Prophet: did a slow seasonal series, such as a day's cost, leave its trend and seasons?

Finds a jump of cost on the day it becomes known, weekends allowed for. Blind to what happens within a window. Needs a
fit (`models.prophet`) before it says anything, and only knows as many windows ahead as were forecast with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.calibration import TailCalibration
from detectors.fitted import Forecast, Places, compared, copied, learn_tails, scores_of
from engine.errors import ConfigError, StateMismatch
from engine.ports import Fitter
from engine.types import Fit, Scores, State, Tick
from models import scales
from models.prophet import ProphetFitter, import_prophet

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class ProphetForecast:
    """Builds Prophet detectors.

    resolution
        "daily" for cost; "base" for slow series of the base resolution.
    forms
        Forms of series, separated by commas; every series of them is fitted by itself.
    min_windows
        Windows a series must have to be fitted: two weeks of days show a weekly season.
    max_series
        How many series of a scope are fitted at most, by name; bounds the time of a fit (0.1 s to 0.5 s a series).
    horizon
        Windows forecast with each fit; beyond them the detector is not ready until the next fit.
    """

    resolution: str = "daily"
    forms: str = "money"
    min_windows: int = 14
    max_series: int = 200
    horizon: int = 30

    def __post_init__(self) -> None:
        if self.resolution not in ("daily", "base"):
            raise ConfigError(f"prophet.resolution is {self.resolution!r}; it must be 'daily' or 'base'")
        unknown = set(self._forms()) - set(scales.FORMS)
        if unknown or not self._forms():
            raise ConfigError(f"prophet.forms is {self.forms!r}; choose from {', '.join(scales.FORMS)}")
        for key, lowest in (("min_windows", 4), ("max_series", 1), ("horizon", 1)):
            if getattr(self, key) < lowest:
                raise ConfigError(f"prophet.{key} is {getattr(self, key)}; it must be at least {lowest}")

    @property
    def name(self) -> str:
        return "prophet"

    def build(self, seed: int, resume: State | None = None) -> ProphetDetector:
        """Return a detector for one shard; `seed` decides nothing here, it decides the fit."""
        return ProphetDetector(resume)

    def fitter(self) -> Fitter | None:
        """Return what fits each series; raise ConfigError when prophet is not installed."""
        import_prophet()
        return ProphetFitter(self.resolution, self._forms(), self.min_windows, self.max_series, self.horizon)

    def _forms(self) -> tuple[str, ...]:
        return tuple(sorted({form.strip() for form in self.forms.split(",") if form.strip()}))


class ProphetDetector:
    """Scores one shard: 0.3 µs a series and window; 16 bytes a series, and the forecasts (8 bytes a series and window).

    `raw` is the distance from the forecast in the fit's usual errors; tail_p is two-sided, from `TailCalibration`.
    """

    def __init__(self, resume: State | None = None) -> None:
        if resume is not None and resume.get("version") != VERSION:
            raise StateMismatch(f"prophet state has version {resume.get('version')}, this program writes {VERSION}")
        self._models: dict[str, State] = {} if resume is None else dict(resume["models"])
        self._tails = TailCalibration(len(scales.FORMS), None if resume is None else resume["tails"])
        self._places = Places(self._models)

    def score(self, tick: Tick) -> Scores:
        """Return how far each series is from its forecast; NaN where there is none for this window."""
        return scores_of(self._compare(tick), tick, self._tails)

    def learn(self, tick: Tick) -> None:
        """Calibrate by the forecasts' errors; trend and seasons are learned by fits."""
        learn_tails(self._compare(tick), tick, self._tails)

    def adopt(self, fit: Fit) -> None:
        """Use the scope's new forecasts from now on; fits of other models are ignored."""
        if fit.model == "prophet" and fit.state is not None:
            self._models[fit.scope] = fit.state
            self._places = Places(self._models)

    def snapshot(self) -> State:
        """Return a copy of all state."""
        return {
            "version": VERSION,
            "models": {scope: copied(model) for scope, model in sorted(self._models.items())},
            "tails": self._tails.snapshot(),
        }

    def _compare(self, tick: Tick) -> Forecast:
        self._places.extend(tick.index)
        forms = self._places.forms[tick.series]
        expected = np.full(len(tick.series), np.nan)
        for model, mine in self._places.by_model(tick.series):
            ahead = (tick.start_ms - model["from_ms"]) // model["resolution_ms"]
            if tick.resolution_ms == model["resolution_ms"] and 0 <= ahead < model["expected"].shape[1]:
                expected[mine] = model["expected"][self._places.row[tick.series[mine]], ahead]
        usual = self._places.gather("error", tick.series)
        return compared(tick, forms, expected, usual)
