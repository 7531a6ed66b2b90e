"""What the fitted detectors find that a z-score cannot, and how their fits fail."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from detectors.checks import World, by_series, ready, world_of
from detectors.forest import Forest
from detectors.lstm import LSTM
from detectors.prophet import ProphetForecast
from engine.errors import ConfigError, DataError
from engine.types import Fit, Floats, History, Scores, Series, SeriesIndex, Tick

ENTITIES = [f"d/service/shop/s{at}" for at in range(8)]


def history(rows: dict[Series, Floats], step: int = 60_000) -> History:
    frames = [
        pl.DataFrame(
            {
                "start_ms": np.arange(len(values)) * step,
                "entity": one.entity,
                "indicator": one.indicator,
                "form": one.form,
                "value": values,
            }
        )
        for one, values in rows.items()
    ]
    frame = pl.concat(frames).sort("entity", "indicator", "start_ms")
    windows = max(len(values) for values in rows.values())
    return History("d", step, 0, windows * step, frame)


def score(detector: object, rows: dict[Series, float], window: int, step: int = 60_000) -> dict[Series, tuple]:
    index = SeriesIndex(list(rows))
    count = len(rows)
    values = np.array(list(rows.values()))
    tick = Tick(0, step, window * step, (window + 1) * step, index, np.arange(count), values, np.zeros(count, int))
    scores: Scores = detector.score(tick)  # type: ignore[attr-defined]
    return by_series(tick, scores)


def test_the_forest_finds_a_combination_in_which_each_part_is_usual() -> None:
    random = np.random.default_rng(1)
    load = {entity: random.standard_normal(400) for entity in ENTITIES}
    rows = {}
    for entity in ENTITIES:
        rows[Series(entity, "requests")] = 100 + 20 * load[entity]
        rows[Series(entity, "cpu")] = 50 + 10 * load[entity] + 0.5 * random.standard_normal(400)
    config = Forest(trees=128)
    fitter = config.fitter()
    assert fitter is not None
    detector = config.build(0)
    detector.adopt(Fit("d", "forest", 0, 0, fitter.fit(history(rows), 3), ""))
    now = {one: 100.0 if one.indicator == "requests" else 50.0 for one in rows}
    strange = Series(ENTITIES[0], "requests"), Series(ENTITIES[0], "cpu")
    now |= {strange[0]: 134.0, strange[1]: 33.0}  # busy, but idle
    seen = {one: row for one, row in score(detector, now, 400).items() if np.isfinite(row[0])}
    assert max(seen, key=lambda one: seen[one][0]) in strange
    assert len(seen) == len(ENTITIES)  # one series an entity is blamed


def test_the_lstm_misses_a_job_that_did_not_run() -> None:
    pytest.importorskip("torch")
    random = np.random.default_rng(1)
    beat = np.where(np.arange(300) % 6 == 0, 200.0, 100.0)
    rows = {Series(entity, "cpu"): beat + 3 * random.standard_normal(300) for entity in ENTITIES}
    config = LSTM(epochs=20)
    fitter = config.fitter()
    assert fitter is not None
    detector = config.build(0)
    detector.adopt(Fit("d", "lstm", 0, 0, fitter.fit(history(rows), 3), ""))
    for window in range(200, 300):
        index = SeriesIndex(list(rows))
        values = np.array([values[window] for values in rows.values()])
        start = window * 60_000
        detector.learn(Tick(0, 60_000, start, start + 60_000, index, np.arange(8), values, np.zeros(8, dtype=np.int64)))
    due = dict.fromkeys(rows, 200.0)
    idle = Series(ENTITIES[3], "cpu")
    seen = score(detector, due | {idle: 100.0}, 300)
    assert seen[idle][1] < 1e-3
    assert seen[idle][2] == -1
    assert all(row[1] > 0.01 for one, row in seen.items() if one != idle)


def test_prophet_expects_less_at_weekends() -> None:
    pytest.importorskip("prophet")
    random = np.random.default_rng(1)
    day = 86_400_000
    week = np.where(np.arange(56) % 7 >= 5, 300.0, 500.0)
    rows = {Series(ENTITIES[0], "cost.usd", "money"): week * np.exp(0.01 * random.standard_normal(56))}
    config = ProphetForecast()
    fitter = config.fitter()
    assert fitter is not None
    detector = config.build(0)
    detector.adopt(Fit("d", "prophet", 0, 0, fitter.fit(history(rows, day), 3), ""))
    [cost] = rows
    assert score(detector, {cost: 500.0}, 56, day)[cost][1] > 0.01
    assert score(detector, {cost: 300.0}, 61, day)[cost][1] > 0.01
    weekend = score(detector, {cost: 500.0}, 61, day)[cost]
    assert weekend[1] < 1e-3
    assert weekend[2] == 1
    assert weekend[3] < 300 < weekend[4] < 500
    assert np.isnan(score(detector, {cost: 500.0}, 56 + 31, day)[cost][1])  # beyond what was forecast


def test_a_history_that_is_too_short_is_said_in_one_line() -> None:
    short = history({Series(ENTITIES[0], "cpu"): np.ones(3)})
    for config in (Forest(), LSTM(), ProphetForecast()):
        try:
            fitter = config.fitter()
        except ConfigError:
            continue  # its library is not installed
        assert fitter is not None
        with pytest.raises(DataError, match=f"^{config.name}: ") as refused:
            fitter.fit(short, 0)
        assert "\n" not in str(refused.value)
        with pytest.raises(DataError):
            fitter.fit(replace(short, frame=short.frame.clear()), 0)


@pytest.mark.parametrize(
    ("config", "module", "extra"), [(LSTM(), "torch", "lstm"), (ProphetForecast(), "prophet", "prophet")]
)
def test_a_missing_library_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, config: LSTM | ProphetForecast, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"pip install 'opsbrain\[{extra}\]'") as refused:
        config.fitter()
    assert "\n" not in str(refused.value)


def test_scoring_by_lstm_needs_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    run = ready(LSTM(), World())
    monkeypatch.setitem(sys.modules, "torch", None)
    resumed = LSTM().build(0, run.detector.snapshot())
    scores = resumed.score(run.tick())
    assert np.isfinite(scores.tail_p).any()


def test_the_world_has_the_resolution_that_the_fitter_asks_for() -> None:
    pytest.importorskip("prophet")
    assert world_of(ProphetForecast()).resolution_ms == 86_400_000
