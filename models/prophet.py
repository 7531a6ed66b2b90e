"""Prophet: trend and seasons of slow series such as cost, fitted off the hot path, and forecast ahead.

Taylor & Letham, 2018, The American Statistician 72, "Forecasting at scale". A fit takes a tenth of a second a series,
so forecasts of the coming windows are made with the fit and kept as arrays; scoring is a look-up. Where we depart: the
band comes from the fit's own residuals (their robust deviation), not from sampled trends, so chance has no part in it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from engine.errors import ConfigError, DataError
from engine.types import Floats, History, State
from models import scales
from models.panel import Panel, panel, whole

VERSION: Final = 1
_DAY_MS: Final = 86_400_000
_NORMAL_PER_MEDIAN: Final = 1.4826
_LOGGERS: Final = ("prophet", "prophet.plot", "prophet.models", "cmdstanpy")


def import_prophet() -> Any:
    """Return the class Prophet, or raise ConfigError saying how to install it."""
    with _silenced():
        try:
            from prophet import Prophet
        except ImportError as error:
            raise ConfigError(
                "the detector prophet needs its library: pip install 'opsbrain[prophet]', or leave it off"
            ) from error
    return Prophet


@dataclass(frozen=True, slots=True)
class ProphetFitter:
    """Fits the series of one scope; see `detectors.prophet.ProphetForecast` for the settings."""

    resolution: str
    forms: tuple[str, ...]
    min_windows: int
    max_series: int
    horizon: int

    @property
    def name(self) -> str:
        return "prophet"

    def fit(self, history: History, seed: int) -> State:
        """Return forecasts of the next `horizon` windows by series; raise DataError when none could be fitted.

        A series too short or flat for a fit is left out; one whose fit fails is named in `failed`.
        """
        data = panel(history, pl.col("form").is_in(self.forms), self.min_windows)
        if not data.series:
            raise DataError(
                f"prophet: no series of form {', '.join(self.forms)} in scope {history.scope} has "
                f"{self.min_windows} windows yet"
            )
        prophet = import_prophet()
        rows, expected, error, failed = [], [], [], []
        for at in range(min(len(data.series), self.max_series)):
            try:
                ahead, usual = _forecast(prophet, data, at, self.horizon, seed)
            except (RuntimeError, ValueError) as problem:
                failed.append(f"{data.series[at].entity} {data.series[at].indicator}: {_one_line(problem)}")
                continue
            rows.append(at)
            expected.append(ahead)
            error.append(usual)
        if not rows:
            raise DataError(f"prophet: every fit failed, the first of {failed[0]}")
        return {
            "version": VERSION,
            "from_ms": data.start_ms + data.scaled.shape[1] * data.resolution_ms,
            "resolution_ms": data.resolution_ms,
            "entities": [data.series[at].entity for at in rows],
            "indicators": [data.series[at].indicator for at in rows],
            "expected": np.array(expected),
            "error": np.array(error),
            "failed": failed,
        }


def _forecast(prophet: Any, data: Panel, at: int, horizon: int, seed: int) -> tuple[Floats, float]:
    """Return the next `horizon` values of one series on its form's scale, and its usual error."""
    import pandas as pd

    known = np.flatnonzero(np.isfinite(data.scaled[at]))
    windows = data.scaled.shape[1]
    # Plain Python numbers: Prophet takes numpy's True for the number 1, a season of a single wave.
    days = int(known[-1] - known[0]) * data.resolution_ms / _DAY_MS
    frame = pd.DataFrame({"ds": _times(pd, data, known), "y": data.scaled[at, known]})
    with _silenced():
        model = prophet(
            daily_seasonality=data.resolution_ms < _DAY_MS and days >= 2,
            weekly_seasonality=days >= 14,
            yearly_seasonality=days >= 730,
            n_changepoints=min(25, max(len(known) // 4, 1)),
            uncertainty_samples=0,
        )
        model.fit(frame, seed=seed)
        ahead = pd.DataFrame({"ds": _times(pd, data, np.arange(windows, windows + horizon))})
        expected = model.predict(ahead)["yhat"].to_numpy(dtype=np.float64)
        fitted = model.predict(frame[["ds"]])["yhat"].to_numpy(dtype=np.float64)
    usual = _NORMAL_PER_MEDIAN * float(np.median(np.abs(data.scaled[at, known] - fitted)))
    level = np.array([np.median(expected)])
    here = slice(at, at + 1)
    return expected, max(usual, float(scales.floor(level, data.forms[here], whole(data)[here])[0]))


def _times(pd: Any, data: Panel, windows: Any) -> Any:
    return pd.to_datetime(data.start_ms + windows * data.resolution_ms, unit="ms")


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())[:200]


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep the library from writing a line per fit; its failures come as exceptions."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.level, logger.disabled) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
        logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, (level, disabled) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.disabled = disabled
