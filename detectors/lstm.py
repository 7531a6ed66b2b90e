"""LSTM forecaster: is the next window what the last ones led to?

Finds breaks in rhythm that a level cannot show: a periodic job that did not run. Blind to strange combinations, and to
seasons longer than its lookback. Needs a fit (`models.lstm`) before it says anything; scores without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.calibration import TailCalibration
from detectors.columns import Columns, Field
from detectors.fitted import Forecast, Places, compared, copied, learn_tails, scores_of
from engine.errors import ConfigError, StateMismatch
from engine.ports import Fitter
from engine.types import Fit, Scores, State, Tick
from models import scales
from models.lstm import LSTMFitter, forecast, import_torch

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class LSTM:
    """Builds LSTM detectors.

    lookback
        Windows a forecast is made from. Longer: slower rhythms are seen, at proportional cost.
    hidden
        Units of the network; cost grows with the square.
    samples, epochs
        How many stretches of history a fit trains on, and how often each is seen: the fit's time is their product.
    """

    lookback: int = 16
    hidden: int = 8
    samples: int = 4_096
    epochs: int = 8

    def __post_init__(self) -> None:
        for key, lowest, highest in (
            ("lookback", 2, 512),
            ("hidden", 1, 256),
            ("samples", 256, 1 << 20),
            ("epochs", 1, 1_000),
        ):
            value = getattr(self, key)
            if not lowest <= value <= highest:
                raise ConfigError(f"lstm.{key} is {value}; it must be from {lowest} to {highest}")

    @property
    def name(self) -> str:
        return "lstm"

    def build(self, seed: int, resume: State | None = None) -> LSTMDetector:
        """Return a detector for one shard; `seed` decides nothing here, it decides the fit."""
        return LSTMDetector(self, resume)

    def fitter(self) -> Fitter | None:
        """Return what trains the network; raise ConfigError when torch is not installed."""
        import_torch()
        return LSTMFitter(self.lookback, self.hidden, self.samples, self.epochs)


class LSTMDetector:
    """Scores one shard: about 10 µs a series and window, 80 bytes a series at 16 windows of lookback.

    `raw` is the forecast's error in the series' usual errors; tail_p is two-sided, from `TailCalibration` by form.
    """

    def __init__(self, config: LSTM, resume: State | None = None) -> None:
        if resume is not None and resume.get("version") != VERSION:
            raise StateMismatch(f"lstm state has version {resume.get('version')}, this program writes {VERSION}")
        self._lookback = config.lookback
        fields: dict[str, Field] = {"recent": ("float32", np.nan, config.lookback)}
        self._columns = Columns(fields, None if resume is None else resume["series"])
        self._tails = TailCalibration(len(scales.FORMS), None if resume is None else resume["tails"])
        self._models: dict[str, State] = {} if resume is None else dict(resume["models"])
        self._places = Places(self._models)

    def score(self, tick: Tick) -> Scores:
        """Return the error of the forecast made before the tick; NaN for series that the model does not know."""
        return scores_of(self._forecast(tick), tick, self._tails)

    def learn(self, tick: Tick) -> None:
        """Remember the window's values, and calibrate by the forecast's errors."""
        made = self._forecast(tick)
        self._columns.claim(len(tick.index))
        learn_tails(made, tick, self._tails)
        recent = self._columns["recent"]
        recent[tick.series, :-1] = recent[tick.series, 1:]
        recent[tick.series, -1] = scales.forward(tick.values, made.forms)

    def adopt(self, fit: Fit) -> None:
        """Use the scope's new network from now on; fits of other models are ignored."""
        if fit.model == "lstm" and fit.state is not None:
            if fit.state["lookback"] != self._lookback:
                raise StateMismatch(
                    f"the lstm of {fit.scope} looks back {fit.state['lookback']} windows, the settings {self._lookback}"
                )
            self._models[fit.scope] = fit.state
            self._places = Places(self._models)

    def snapshot(self) -> State:
        """Return a copy of all state."""
        return {
            "version": VERSION,
            "models": {scope: copied(model) for scope, model in sorted(self._models.items())},
            "series": self._columns.snapshot(),
            "tails": self._tails.snapshot(),
        }

    def _forecast(self, tick: Tick) -> Forecast:
        self._columns.room(len(tick.index))
        self._places.extend(tick.index)
        series = tick.series
        forms = self._places.forms[series]
        recent = self._columns["recent"][series].astype(np.float64)
        centre, spread = self._places.gather("centre", series), self._places.gather("spread", series)
        expected = np.full(len(series), np.nan)
        for model, mine in self._places.by_model(series):
            inputs = (recent[mine] - centre[mine, None]) / spread[mine, None]
            expected[mine] = centre[mine] + spread[mine] * forecast(model["weights"], inputs)
        usual = spread * self._places.gather("error", series)
        return compared(tick, forms, expected, usual)
