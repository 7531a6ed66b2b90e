"""One small LSTM that forecasts the next window of any series: trained with torch, run in numpy.

Hochreiter & Schmidhuber, 1997, Neural Computation 9, "Long short-term memory", forget gates added; one network over all
series of a scope, each normalised by its usual level and spread ("global" forecasting: Montero-Manso & Hyndman, 2021,
Int. J. Forecasting 37). A stretch is seen from its own median: what the network learns is rhythm,
not level, and an untrained one says "as usual lately".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from engine.errors import ConfigError, DataError
from engine.types import Bools, Floats, History, State
from models.panel import Panel, normal, panel

VERSION: Final = 1
LARGEST_DEVIATION: Final = 4.0
"""Inputs are cut here, so that one spike does not spoil the forecasts that follow it."""

_SPARSE: Final = r"^(log\.template\.|event\.)|\{"
_BATCH: Final = 256
_MIN_SAMPLES: Final = 256
_NORMAL_PER_MEDIAN: Final = 1.4826
_SMALLEST_ERROR: Final = 0.1  # usual deviations; a series that can be foretold better than that is not worth an alarm


def import_torch() -> Any:
    """Return torch, or raise ConfigError saying how to install it."""
    try:
        import torch
    except ImportError as error:
        raise ConfigError("the detector lstm needs torch: pip install 'opsbrain[lstm]', or leave it off") from error
    return torch


@dataclass(frozen=True, slots=True)
class LSTMFitter:
    """Trains the forecaster of one scope; see `detectors.lstm.LSTM` for the settings."""

    lookback: int
    hidden: int
    samples: int
    epochs: int

    @property
    def name(self) -> str:
        return "lstm"

    @property
    def resolution(self) -> str:
        return "base"

    def fit(self, history: History, seed: int) -> State:
        """Return weights, and level, spread and usual error of each series; DataError when history is too short.

        About a second. Torch trains on one thread with deterministic algorithms; what is random is numpy's, seeded.
        """
        data = panel(history, ~pl.col("indicator").str.contains(_SPARSE), min_windows=self.lookback + 8)
        centre, spread = normal(data)
        deviations = (data.scaled - centre[:, None]) / spread[:, None]
        row, end = np.nonzero(_usable(deviations, self.lookback))
        if len(row) < _MIN_SAMPLES:
            raise DataError(
                f"lstm: scope {history.scope} has {len(row)} stretches of {self.lookback + 1} windows, "
                f"{_MIN_SAMPLES} are needed"
            )
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(len(row), size=min(self.samples, len(row)), replace=False))
        inputs, target = _samples(deviations, row[chosen], end[chosen], self.lookback)
        weights = _train(inputs, target, _first_weights(rng, self.hidden), self.epochs, rng)
        return {
            "version": VERSION,
            "lookback": self.lookback,
            "weights": weights,
            "entities": [one.entity for one in data.series],
            "indicators": [one.indicator for one in data.series],
            "centre": centre,
            "spread": spread,
            "error": self._errors(data, deviations, weights),
        }

    def _errors(self, data: Panel, deviations: Floats, weights: State) -> Floats:
        """Return each series' usual forecast error, (S,), in its usual deviations, from its latest windows."""
        latest = range(max(self.lookback, deviations.shape[1] - 64), deviations.shape[1])
        errors = np.full((len(data.series), max(len(latest), 1)), np.nan)
        for at, end in enumerate(latest):
            errors[:, at] = deviations[:, end] - forecast(weights, deviations[:, end - self.lookback : end])
        known = np.isfinite(errors).any(axis=1)
        usual = np.ones(len(errors))
        usual[known] = _NORMAL_PER_MEDIAN * np.nanmedian(np.abs(errors[known]), axis=1)
        return np.maximum(usual, _SMALLEST_ERROR)


def forecast(weights: State, inputs: Floats) -> Floats:
    """Return the forecast next deviation of each row, (N,); NaN where less than half of the inputs are known.

    `inputs` is (N, lookback) in usual deviations, oldest first; gaps carry the last value on. Sums run over columns one
    at a time, in fixed order: a matrix product may round a row differently depending on the rows beside it.
    """
    x, middle, known = _seen_from_middle(inputs)
    hidden = weights["recurrent"].shape[0]
    h, c = np.zeros((len(x), hidden)), np.zeros((len(x), hidden))
    for at in range(x.shape[1]):
        gates = x[:, at, None] * weights["input"] + weights["bias"]
        for unit in range(hidden):
            gates += h[:, unit, None] * weights["recurrent"][unit]
        i, f, o = (_sigmoid(gates[:, part * hidden : (part + 1) * hidden]) for part in (0, 1, 2))
        c = f * c + i * np.tanh(gates[:, 3 * hidden :])
        h = o * np.tanh(c)
    change = np.full(len(x), float(weights["output_bias"][0]))
    for unit in range(hidden):
        change += h[:, unit] * weights["output"][unit]
    return np.where(known, middle + change, np.nan)


def _sigmoid(x: Floats) -> Floats:
    half: Floats = 0.5 + 0.5 * np.tanh(0.5 * x)
    return half


def _seen_from_middle(inputs: Floats) -> tuple[Floats, Floats, Bools]:
    """Return (N, lookback) inputs less their median, cut and without gaps; the median; and who has enough of them."""
    known = np.isfinite(inputs)
    enough = 2 * known.sum(axis=1) >= inputs.shape[1]
    middle = np.zeros(len(inputs))
    middle[enough] = np.nanmedian(inputs[enough], axis=1)
    last = np.maximum.accumulate(np.where(known, np.arange(inputs.shape[1]), -1), axis=1)
    carried = np.take_along_axis(inputs, np.maximum(last, 0), axis=1) - middle[:, None]
    filled = np.where(last >= 0, carried, 0.0)
    return np.clip(filled, -LARGEST_DEVIATION, LARGEST_DEVIATION), middle, enough


def _usable(deviations: Floats, lookback: int) -> Bools:
    """Return (S, W): is there a number in this window and in most of the `lookback` before it?"""
    known = np.isfinite(deviations)
    total = np.concatenate([np.zeros((len(known), 1), dtype=np.int64), np.cumsum(known, axis=1)], axis=1)
    usable = np.zeros_like(known)
    if known.shape[1] > lookback:
        before = total[:, lookback:-1] - total[:, : -lookback - 1]
        usable[:, lookback:] = known[:, lookback:] & (4 * before >= 3 * lookback)
    return usable


def _samples(deviations: Floats, row: Any, end: Any, lookback: int) -> tuple[Floats, Floats]:
    inputs = deviations[row[:, None], end[:, None] + np.arange(-lookback, 0)]
    x, middle, _ = _seen_from_middle(inputs)
    return x, np.clip(deviations[row, end] - middle, -LARGEST_DEVIATION, LARGEST_DEVIATION)


def _first_weights(random: np.random.Generator, hidden: int) -> State:
    width = hidden**-0.5
    bias = np.zeros(4 * hidden)
    bias[hidden : 2 * hidden] = 1.0  # remember at first (Jozefowicz et al., 2015)
    return {
        "input": random.uniform(-width, width, 4 * hidden),
        "recurrent": random.uniform(-width, width, (hidden, 4 * hidden)),
        "bias": bias,
        "output": np.zeros(hidden),
        "output_bias": np.zeros(1),
    }


def _train(inputs: Floats, target: Floats, first: State, epochs: int, random: np.random.Generator) -> State:
    torch = import_torch()
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        weights = {
            name: torch.tensor(value, dtype=torch.float32, requires_grad=True) for name, value in sorted(first.items())
        }
        x, y = torch.tensor(inputs, dtype=torch.float32), torch.tensor(target, dtype=torch.float32)
        optimiser = torch.optim.Adam(weights.values(), lr=0.01)
        for _ in range(epochs):
            order = torch.from_numpy(random.permutation(len(x)))
            for batch in order.split(_BATCH):
                optimiser.zero_grad()
                loss = torch.nn.functional.smooth_l1_loss(_torch_forecast(torch, weights, x[batch]), y[batch])
                loss.backward()
                optimiser.step()
        return {name: value.detach().numpy().astype(np.float64) for name, value in weights.items()}
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)


def _torch_forecast(torch: Any, weights: dict[str, Any], x: Any) -> Any:
    hidden = weights["recurrent"].shape[0]
    h, c = torch.zeros(len(x), hidden), torch.zeros(len(x), hidden)
    for at in range(x.shape[1]):
        gates = x[:, at, None] * weights["input"] + weights["bias"] + h @ weights["recurrent"]
        i, f, o = gates[:, : 3 * hidden].sigmoid().split(hidden, dim=1)
        c = f * c + i * gates[:, 3 * hidden :].tanh()
        h = o * c.tanh()
    return h @ weights["output"] + weights["output_bias"]
