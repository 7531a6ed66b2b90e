"""Every conformance check refuses its bug: a check that nothing fails checks nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from detectors import checks
from detectors.checks import ALL_CHECKS, CheckFailed, check_all
from detectors.zscore import ZScore, ZScoreDetector
from engine.types import Fit, Scores, State, Tick

Make = Callable[[int, State | None], Any]


@dataclass(frozen=True)
class Broken:
    """Builds detectors with one bug."""

    make: Make
    name: str = "broken"

    def build(self, seed: int, resume: State | None = None) -> Any:
        return self.make(seed, resume)

    def fitter(self) -> None:
        return None


class Good(ZScoreDetector):
    """What each broken detector would be without its bug."""

    def __init__(self, seed: int = 0, resume: State | None = None) -> None:
        super().__init__(ZScore(), resume)


class LearnsWhileScoring(Good):
    def score(self, tick: Tick) -> Scores:
        scores = super().score(tick)
        self.learn(tick)
        return scores


class NeverLearns(Good):
    def learn(self, tick: Tick) -> None:
        pass


class ForgetsItsState(Good):
    def __init__(self, seed: int = 0, resume: State | None = None) -> None:
        super().__init__(seed)


class LendsItsArrays(Good):
    def snapshot(self) -> State:
        columns = self._columns
        return super().snapshot() | {"series": {name: columns[name][: columns.size] for name in columns._fields}}


class ThrowsDice(Good):
    def score(self, tick: Tick) -> Scores:
        scores = super().score(tick)
        return replace(scores, raw=scores.raw + np.random.random())  # noqa: NPY002 - the bug


class RemembersEverything(Good):
    def __init__(self, seed: int = 0, resume: State | None = None) -> None:
        self.seen = list((resume or {}).get("seen", []))
        super().__init__(seed, resume)

    def learn(self, tick: Tick) -> None:
        super().learn(tick)
        self.seen.append(tick.values.tolist())

    def snapshot(self) -> State:
        return super().snapshot() | {"seen": list(self.seen)}


class SaysZeroWhenUnready(Good):
    def score(self, tick: Tick) -> Scores:
        scores = super().score(tick)
        return replace(scores, raw=np.nan_to_num(scores.raw), tail_p=np.nan_to_num(scores.tail_p, nan=1.0))


class ReadsMissingAsZero(Good):
    def score(self, tick: Tick) -> Scores:
        return super().score(replace(tick, values=np.nan_to_num(tick.values)))


class IsConstant(Good):
    def score(self, tick: Tick) -> Scores:
        scores = super().score(tick)
        ready = np.isfinite(scores.raw)
        half = np.where(ready, 0.5, np.nan)
        return replace(scores, raw=half, tail_p=half)


class SeesOnlyRises(Good):
    def score(self, tick: Tick) -> Scores:
        scores = super().score(tick)
        falls = scores.direction < 0
        return replace(scores, raw=np.where(falls, 0.0, scores.raw), tail_p=np.where(falls, 1.0, scores.tail_p))


class LooksAtThePosition(Good):
    def score(self, tick: Tick) -> Scores:
        scores = super().score(tick)
        return replace(scores, raw=scores.raw + 1e-12 * np.arange(len(tick.series)))


class ScoresTheUnknown(Good):
    def score(self, tick: Tick) -> Scores:
        scores = super().score(tick)
        guess = np.isnan(scores.raw) & np.isfinite(tick.values) & (self._columns.size > 0)
        half = np.where(guess, 0.5, 0.0)
        return replace(
            scores,
            raw=np.where(guess, half, scores.raw),
            tail_p=np.where(guess, half, scores.tail_p),
        )


class HasNoFloor:
    """The z-score of a textbook."""

    def __init__(self, seed: int = 0, resume: State | None = None) -> None:
        self.sums: dict[int, list[float]] = {}

    def score(self, tick: Tick) -> Scores:
        count, total, square = np.array([self.sums.get(n, [np.nan] * 3) for n in tick.series.tolist()]).T
        mean = total / count
        deviation = np.sqrt(np.maximum(square / count - mean**2, 1e-12))
        z = (tick.values - mean) / deviation
        nothing = np.full(len(z), np.nan)
        tail = np.clip(np.exp(-np.abs(z)), 1e-12, 1.0)
        return Scores(np.abs(z), tail, np.nan_to_num(np.sign(z)).astype(np.int8), nothing, nothing)

    def learn(self, tick: Tick) -> None:
        for number, value in zip(tick.series.tolist(), tick.values.tolist(), strict=True):
            count, total, square = self.sums.get(number, [0.0, 0.0, 0.0])
            self.sums[number] = [count + 1, total + value, square + value**2]

    def adopt(self, fit: Fit) -> None:
        pass

    def snapshot(self) -> State:
        return {"version": 1}


BUGS: list[tuple[Callable[..., Any], Callable[..., None]]] = [
    (LearnsWhileScoring, checks.score_is_pure),
    (NeverLearns, checks.learning_changes_state),
    (ForgetsItsState, checks.resume_equals_uninterrupted),
    (LendsItsArrays, checks.snapshot_is_a_copy),
    (ThrowsDice, checks.seed_decides_everything),
    (RemembersEverything, checks.state_is_bounded),
    (SaysZeroWhenUnready, checks.unready_is_not_zero),
    (NeverLearns, checks.unready_is_not_zero),
    (ReadsMissingAsZero, checks.gaps_are_tolerated),
    (IsConstant, checks.planted_spikes_outrank_normal_rows),
    (SeesOnlyRises, checks.planted_spikes_outrank_normal_rows),
    (LooksAtThePosition, checks.order_of_series_does_not_matter),
    (ScoresTheUnknown, checks.new_and_vanished_series_are_harmless),
    (HasNoFloor, checks.a_hair_is_not_a_spike),
]


@pytest.mark.parametrize(("bug", "check"), BUGS, ids=lambda one: one.__name__)
def test_the_check_refuses_its_bug(bug: Callable[..., Any], check: Callable[..., None]) -> None:
    with pytest.raises(CheckFailed):
        check(Broken(bug))


def test_every_check_has_a_bug_that_it_refuses() -> None:
    assert {check for _, check in BUGS} == set(ALL_CHECKS)


def test_without_its_bug_the_detector_passes() -> None:
    check_all(Broken(Good))


def test_opting_out_needs_a_reason_and_a_check_that_exists() -> None:
    with pytest.raises(CheckFailed, match="needs a reason"):
        check_all(Broken(Good), {"score_is_pure": " "})
    with pytest.raises(CheckFailed, match="no check"):
        check_all(Broken(Good), {"score_is_nice": "it is"})
    with pytest.raises(CheckFailed):
        check_all(Broken(NeverLearns))
