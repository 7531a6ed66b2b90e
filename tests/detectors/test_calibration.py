"""tail_p means what it says: one in a thousand ordinary windows is a one-in-a-thousand window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from detectors.calibration import TailCalibration, score_of
from detectors.zscore import ZScore
from engine.types import Floats, Series, SeriesIndex, Tick

N = 500
Draw = Callable[[np.random.Generator], Floats]

HEALTHY: dict[str, tuple[str, Draw]] = {
    "gauss": ("gauge", lambda random: 500 + 10 * random.standard_normal(N)),
    "heavy tails": ("gauge", lambda random: 500 + 10 * random.standard_t(3, N)),
    "lognormal latency": ("duration", lambda random: 100 * np.exp(random.standard_normal(N))),
    "lognormal level": ("gauge", lambda random: np.exp(random.standard_normal(N))),
    "counts": ("count", lambda random: random.poisson(20, N).astype(float)),
    "rare counts": ("count", lambda random: random.poisson(1, N).astype(float)),
    "ratio": ("ratio", lambda random: random.beta(1, 30, N)),
}


def shard(form: str) -> tuple[SeriesIndex, np.ndarray]:
    index = SeriesIndex([Series(f"d/service/-/s{at}", "m", form) for at in range(N)])
    return index, np.arange(N)


def tick(index: SeriesIndex, series: np.ndarray, window: int, values: Floats, zeros: int = 0) -> Tick:
    return Tick(0, 1000, 1000 * window, 1000 * window + 1000, index, series, values, np.full(len(series), zeros))


@pytest.mark.parametrize("name", HEALTHY)
def test_false_alarms_are_as_rare_as_they_say(name: str) -> None:
    form, draw = HEALTHY[name]
    random = np.random.default_rng(3)
    index, series = shard(form)
    detector = ZScore().build(0)
    tails = []
    for window in range(400):
        now = tick(index, series, window, draw(random))
        if window >= 100:
            tails.append(detector.score(now).tail_p)
        detector.learn(now)
    for p in (1e-2, 1e-3):
        share = float(np.mean(np.array(tails) <= p)) / p
        assert share < 3, f"{share:.2f} times as many as {p} says"
        assert share > 0.3 or form == "count", f"{share:.2f} times as many as {p} says"


def test_a_ten_deviation_spike_is_one_in_a_million() -> None:
    random = np.random.default_rng(3)
    index, series = shard("gauge")
    detector = ZScore().build(0)
    for window in range(200):
        detector.learn(tick(index, series, window, 500 + 10 * random.standard_normal(N)))
    for sign in (1, -1):
        scores = detector.score(tick(index, series, 200, np.full(N, 500.0 + sign * 100)))
        assert np.median(scores.tail_p) <= 1e-6
        assert (scores.direction == sign).all()


def test_tails_only_shrink_with_the_score_and_bands_invert_them() -> None:
    tails = TailCalibration(1)
    random = np.random.default_rng(5)
    series, group = np.arange(50), np.zeros(50, dtype=np.int64)
    for _ in range(300):
        tails.learn(series, group, np.abs(random.standard_t(4, 50)), np.ones(50, dtype=np.bool_))
    grid = np.linspace(0, 60, 50)
    one = np.zeros(50, dtype=np.int64)
    p = tails.tail_p(one, group, grid)
    assert p[0] == 1.0
    assert (np.diff(p) <= 0).all()
    half = tails.score_at(1e-3, series, group)
    assert np.allclose(tails.tail_p(series, group, half), 1e-3)
    assert np.isnan(tails.tail_p(one[:1], group[:1], np.array([np.nan]))).all()


def test_an_incident_in_progress_stays_visible() -> None:
    random = np.random.default_rng(3)
    index, series = shard("gauge")
    detector = ZScore().build(0)
    seen = []
    for window in range(140):
        values = 500 + 10 * random.standard_normal(N)
        values[:5] += 300.0 * (window >= 120)
        now = tick(index, series, window, values)
        seen.append(detector.score(now).tail_p[:5].max())
        detector.learn(now)
    assert max(seen[120:130]) < 1e-3


def test_a_new_template_is_judged_by_the_windows_in_which_it_was_silent() -> None:
    index, series = shard("count")
    detector = ZScore().build(0)
    few = detector.score(tick(index, series, 0, np.full(N, 80.0), zeros=3))
    many = detector.score(tick(index, series, 0, np.full(N, 80.0), zeros=300))
    one = detector.score(tick(index, series, 0, np.full(N, 1.0), zeros=300))
    assert np.isnan(few.tail_p).all()
    assert (many.tail_p < 1e-4).all()
    assert (one.tail_p > 0.05).all()
    detector.learn(tick(index, series, 0, np.full(N, 0.0), zeros=6))
    for window in range(1, 4):
        detector.learn(tick(index, series, window, np.full(N, 0.0)))
    assert np.isfinite(detector.score(tick(index, series, 4, np.full(N, 1.0))).tail_p).all()


def test_scores_of_probabilities_are_those_of_a_normal() -> None:
    assert np.allclose(score_of(np.array([1.0, 0.3173, 0.0455, 0.0027])), [0, 1, 2, 3], atol=0.06)
