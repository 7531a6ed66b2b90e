"""What every detector must pass, built in or yours: `for check in ALL_CHECKS: check(YourConfig())`.

Each check takes a configuration, plays it a small world, and raises CheckFailed with what went wrong. A detector that
has a fitter is fitted on the world's own first windows, as the engine would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
import polars as pl

from engine.ports import Detector, DetectorConfig
from engine.state_codec import decode_state, encode_state
from engine.types import Fit, History, Scores, Series, SeriesIndex, State, Tick

SCOPE: Final = "check"
_WARM: Final = 60  # windows before a fit
_SETTLE: Final = 12  # windows after it
_SEED: Final = 7
_RESOLUTIONS: Final = {"base": 60_000, "daily": 86_400_000}


class CheckFailed(AssertionError):
    """A detector broke its contract; says which promise and how."""


@dataclass(frozen=True, slots=True)
class World:
    """A shard of healthy services, the same for the same seed: noisy levels, counts, money with quiet weekends."""

    resolution_ms: int = 60_000
    entities: tuple[str, ...] = tuple(f"{SCOPE}/service/shop/s{number}" for number in range(6))
    seed: int = 11
    constant: bool = False  # nothing ever moves

    INDICATORS = (
        ("cpu", "gauge"),
        ("span.p90_ms", "duration"),
        ("log.severity.error", "count"),
        ("cost.usd", "money"),
    )

    def series(self) -> list[Series]:
        """Return every series, by entity."""
        return [Series(entity, name, form) for entity in self.entities for name, form in self.INDICATORS]

    def values(self, window: int) -> dict[Series, float]:
        """Return what each series shows in a window; a series shows the same whichever others exist."""
        return {one: self._value(one, window) for one in self.series()}

    def _value(self, one: Series, window: int) -> float:
        if self.constant:
            return 100.0
        random = np.random.default_rng([self.seed, window, *one.entity.encode(), *one.indicator.encode()])
        noise = float(random.standard_normal())
        if one.form == "count":
            return float(random.poisson(100))
        if one.form == "duration":
            return 100.0 * float(np.exp(0.1 * noise))
        if one.form == "money":
            return (400.0 if window % 7 >= 5 else 500.0) * float(np.exp(0.03 * noise))
        return 100.0 + 5.0 * noise


def tick_of(world: World, index: SeriesIndex, window: int, values: Mapping[Series, float], flip: bool = False) -> Tick:
    """Return the tick of a window; `flip` gives its rows in the opposite order."""
    named = list(values.items())[:: -1 if flip else 1]
    numbers = np.array([index.number(one) for one, _ in named], dtype=np.int64)
    array = np.array([value for _, value in named], dtype=np.float64)
    for one in (numbers, array):
        one.setflags(write=False)
    start = window * world.resolution_ms
    zeros = np.zeros(len(numbers), dtype=np.int64)
    return Tick(0, world.resolution_ms, start, start + world.resolution_ms, index, numbers, array, zeros)


def world_of(config: DetectorConfig) -> World:
    """Return the world in which `config` has something to say: daily windows if it is fitted on those."""
    fitter = config.fitter()
    return World(_RESOLUTIONS[fitter.resolution if fitter else "base"])


def fit_of(config: DetectorConfig, world: World, windows: int = _WARM, seed: int = _SEED) -> Fit | None:
    """Return what the detector's fitter makes of the world's first windows, or None if it has no fitter."""
    return _fit_once(config, world, windows, seed)  # type: ignore[arg-type]  # frozen configurations are hashable


@lru_cache(maxsize=32)
def _fit_once(config: DetectorConfig, world: World, windows: int, seed: int) -> Fit | None:
    return _fit(config, world, windows, seed)


def _fit(config: DetectorConfig, world: World, windows: int, seed: int) -> Fit | None:
    fitter = config.fitter()
    if fitter is None:
        return None
    rows = [
        (window * world.resolution_ms, one.entity, one.indicator, one.form, value)
        for window in range(windows)
        for one, value in world.values(window).items()
    ]
    columns = {
        "start_ms": pl.Int64,
        "entity": pl.String,
        "indicator": pl.String,
        "form": pl.String,
        "value": pl.Float64,
    }
    frame = pl.DataFrame(rows, schema=columns, orient="row").sort("entity", "indicator", "start_ms")
    until = windows * world.resolution_ms
    state = fitter.fit(History(SCOPE, world.resolution_ms, 0, until, frame), seed)
    return Fit(SCOPE, fitter.name, until, until, state, "")


@dataclass(slots=True)
class Run:
    """A detector in its world, at a window."""

    config: DetectorConfig
    world: World
    detector: Detector
    index: SeriesIndex
    window: int = 0
    flip: bool = False

    def tick(self, values: Mapping[Series, float] | None = None) -> Tick:
        """Return the tick of the present window, with the world's values or with `values`."""
        chosen = self.world.values(self.window) if values is None else values
        return tick_of(self.world, self.index, self.window, chosen, self.flip)

    def go(self, windows: int) -> list[dict[Series, tuple[float, ...]]]:
        """Score and learn so many windows; return each window's scores by series."""
        return [self.step(self.tick()) for _ in range(windows)]

    def step(self, tick: Tick) -> dict[Series, tuple[float, ...]]:
        """Score and learn one tick, and move on."""
        scores = self.detector.score(tick)
        _expect_shapes(scores, tick)
        self.detector.learn(tick)
        self.window += 1
        return by_series(tick, scores)

    def adopt(self) -> None:
        """Fit on the world's first windows, and use it."""
        fit = fit_of(self.config, self.world)
        if fit is not None:
            self.detector.adopt(replace(fit, state=decode_state(encode_state(fit.state or {}))))

    def resumed(self) -> Run:
        """Return the same run in a new process: state through bytes, names through a new index."""
        state = decode_state(encode_state(self.detector.snapshot()))
        index = SeriesIndex(list(self.index.all()))
        return replace(self, detector=self.config.build(_SEED, state), index=index)


def begin(config: DetectorConfig, world: World | None = None, flip: bool = False) -> Run:
    """Return a run at its first window; `flip` numbers and lists series in the opposite order."""
    world = world or world_of(config)
    index = SeriesIndex(world.series()[::-1] if flip else world.series())
    return Run(config, world, config.build(_SEED), index, flip=flip)


def ready(config: DetectorConfig, world: World | None = None, flip: bool = False) -> Run:
    """Return a run that is fitted, warm and has settled."""
    run = begin(config, world, flip)
    run.go(_WARM)
    run.adopt()
    run.go(_SETTLE)
    return run


def by_series(tick: Tick, scores: Scores) -> dict[Series, tuple[float, ...]]:
    """Return (raw, tail_p, direction, expected_lo, expected_hi) of each series."""
    columns = (scores.raw, scores.tail_p, scores.direction, scores.expected_lo, scores.expected_hi)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return dict(zip((tick.index[number] for number in tick.series.tolist()), rows, strict=True))


def score_is_pure(config: DetectorConfig) -> None:
    """Asking twice gives the same answer, and asking changes nothing; not even for series never seen before."""
    run = ready(config)
    newcomer = Series(f"{SCOPE}/service/shop/new", "cpu", "gauge")
    tick = run.tick(run.world.values(run.window) | {newcomer: 1.0})
    before, values = encode_state(run.detector.snapshot()), tick.values.copy()
    first, second = run.detector.score(tick), run.detector.score(tick)
    _expect(_same(by_series(tick, first), by_series(tick, second)), "the second score of a tick differs from the first")
    _expect(encode_state(run.detector.snapshot()) == before, "scoring changed the state")
    _expect(np.array_equal(tick.values, values), "scoring changed the tick's values")


def learning_changes_state(config: DetectorConfig) -> None:
    """What is learned is state."""
    run = ready(config)
    before = encode_state(run.detector.snapshot())
    run.detector.learn(run.tick())
    _expect(encode_state(run.detector.snapshot()) != before, "learning a tick left the state as it was")


def resume_equals_uninterrupted(config: DetectorConfig) -> None:
    """A run that was cut, before or after its fit, ends as one that was not: scores and state to the byte."""
    whole, cut = begin(config), begin(config)
    whole.go(_WARM)
    cut.go(_WARM // 2)
    cut = cut.resumed()
    cut.go(_WARM - _WARM // 2)
    for run in (whole, cut):
        run.adopt()
    cut = cut.resumed()
    expected, seen = whole.go(3), cut.go(3)
    cut = cut.resumed()
    expected, seen = expected + whole.go(5), seen + cut.go(5)
    _expect(_same_windows(expected, seen), "scores after a resume differ from those of an uninterrupted run")
    same = encode_state(whole.detector.snapshot()) == encode_state(cut.detector.snapshot())
    _expect(same, "state after a resume differs from that of an uninterrupted run")


def snapshot_is_a_copy(config: DetectorConfig) -> None:
    """A snapshot stays what it was while the detector goes on, and writing into it does no harm; nor does resuming."""
    run = ready(config)
    taken = run.detector.snapshot()
    before = encode_state(taken)
    twin = replace(run, detector=run.config.build(_SEED, taken), index=SeriesIndex(list(run.index.all())))
    run.go(2)
    _expect(encode_state(taken) == before, "a snapshot changed while the detector went on learning")
    twin.go(2)
    _expect(encode_state(taken) == before, "resuming from a snapshot and learning changed the snapshot")
    after = encode_state(run.detector.snapshot())
    _scribble(run.detector.snapshot())
    _expect(encode_state(run.detector.snapshot()) == after, "writing into a snapshot changed the detector")


def seed_decides_everything(config: DetectorConfig) -> None:
    """The same seed gives the same fit, scores and state to the byte, whatever numpy's global one holds."""
    ends = []
    for noise in (1, 2):
        np.random.seed(noise)  # noqa: NPY002 - the point: nothing may read it
        world = world_of(config)
        fit = _fit(config, world, _WARM, _SEED)
        run = begin(config, world)
        run.go(_WARM)
        if fit is not None:
            run.detector.adopt(fit)
        seen = run.go(4)
        state = encode_state(run.detector.snapshot())
        ends.append((seen, state, encode_state(fit.state or {}) if fit else b""))
    _expect(ends[0][2] == ends[1][2], "two fits with one seed differ")
    _expect(_same_windows(ends[0][0], ends[1][0]), "two runs with one seed score differently")
    _expect(ends[0][1] == ends[1][1], "two runs with one seed end in different states")


def state_is_bounded(config: DetectorConfig) -> None:
    """State grows with series, never with windows."""
    run = ready(config)
    before = len(encode_state(run.detector.snapshot()))
    run.go(60)
    after = len(encode_state(run.detector.snapshot()))
    _expect(after <= 1.02 * before + 64, f"60 more windows made the state grow from {before} to {after} bytes")


def unready_is_not_zero(config: DetectorConfig) -> None:
    """Before anything is known scores are NaN, probabilities are in (0, 1], and in the end there is much to say."""
    run = begin(config)
    scores = run.detector.score(run.tick())
    _expect(bool(np.isnan(scores.raw).all()), "the first window ever has a raw score; not ready is NaN")
    _expect(bool(np.isnan(scores.tail_p).all()), "the first window ever has a tail_p; not ready is NaN")
    seen = [row for window in ready(config).go(6) for row in window.values()]
    scored = [row for row in seen if not np.isnan(row[0])]
    _expect(bool(scored), "a warm and fitted detector scores nothing")


def gaps_are_tolerated(config: DetectorConfig) -> None:
    """Missing numbers, missing windows and empty ticks score NaN or nothing, and what follows is scored again."""
    run = ready(config)
    holes = {one: float("nan") for one in run.world.series()}
    missing = run.step(run.tick(holes))
    _expect(all(np.isnan(row[0]) and np.isnan(row[1]) for row in missing.values()), "a missing number has a score")
    run.step(run.tick({}))
    some = {one: value for at, (one, value) in enumerate(run.world.values(run.window).items()) if at % 2}
    run.step(run.tick(some))
    run.window += 5
    seen = [row for window in run.go(_SETTLE) for row in window.values()]
    _expect(any(np.isfinite(row[1]) for row in seen), "after a gap nothing is scored any more")


def planted_spikes_outrank_normal_rows(config: DetectorConfig) -> None:
    """A spike, up or down, gets a larger raw score and a smaller tail_p than any normal row, and its direction."""
    run = ready(config)
    told = {one for window in run.go(8) for one, row in window.items() if np.isfinite(row[0])}
    _expect(bool(told), "a warm and fitted detector scores nothing")
    for one in sorted(told, key=lambda series: (series.entity, series.indicator)):
        for sign in (1, -1):
            _expect_outranks(run, one, sign)


def order_of_series_does_not_matter(config: DetectorConfig) -> None:
    """Numbering and listing series the other way round gives the same scores to the byte."""
    forth, back = ready(config), ready(config, flip=True)
    _expect(_same_windows(forth.go(5), back.go(5)), "scores depend on the order of series")


def new_and_vanished_series_are_harmless(config: DetectorConfig) -> None:
    """Series come, go and come back: the others are scored as ever, and a newcomer is unknown at first."""
    world = world_of(config)
    run = ready(config, world)
    grown = replace(world, entities=(*world.entities[1:], f"{SCOPE}/service/shop/new"))
    run.world = grown
    first = run.step(run.tick())
    newcomers = [row for one, row in first.items() if one.entity.endswith("/new")]
    _expect(all(np.isnan(row[1]) for row in newcomers), "a series is scored in its first window")
    seen = run.go(_SETTLE)
    stayed = [row for window in seen for one, row in window.items() if one.entity in world.entities]
    _expect(any(np.isfinite(row[1]) for row in stayed), "the others are not scored any more")
    run.world = world
    back = [row for window in run.go(_SETTLE) for one, row in window.items() if one.entity == world.entities[0]]
    _expect(any(np.isfinite(row[1]) for row in back), "a series that came back is not scored")


def a_hair_is_not_a_spike(config: DetectorConfig) -> None:
    """A series that never moved is ordinary while it rests, and not strange when it moves by a thousandth."""
    run = ready(config, replace(world_of(config), constant=True))
    resting = run.step(run.tick())
    _expect_ordinary(resting, 0.01, "a constant series is strange for staying constant")
    tick = run.tick({one: 1.001 * value for one, value in run.world.values(run.window).items()})
    stirring = by_series(tick, run.detector.score(tick))
    _expect_ordinary(stirring, 0.001, "a constant series is strange for moving by a thousandth")


Check = Callable[[DetectorConfig], None]

ALL_CHECKS: Final[tuple[Check, ...]] = (
    score_is_pure,
    learning_changes_state,
    resume_equals_uninterrupted,
    snapshot_is_a_copy,
    seed_decides_everything,
    state_is_bounded,
    unready_is_not_zero,
    gaps_are_tolerated,
    planted_spikes_outrank_normal_rows,
    order_of_series_does_not_matter,
    new_and_vanished_series_are_harmless,
    a_hair_is_not_a_spike,
)


def check_all(config: DetectorConfig, opted_out: Mapping[str, str] | None = None) -> None:
    """Run every check but those opted out of, by name and with a reason; raise CheckFailed at the first failure."""
    out = dict(opted_out or {})
    names = {check.__name__ for check in ALL_CHECKS}
    for name, reason in sorted(out.items()):
        _expect(name in names, f"there is no check {name!r} to opt out of")
        _expect(bool(reason.strip()), f"opting out of {name} needs a reason")
    for check in ALL_CHECKS:
        if check.__name__ not in out:
            check(config)


def spike(config: DetectorConfig) -> float:
    """Return the tail_p of a level ten usual deviations up, in the checks' world: a number for docstrings."""
    run = ready(config)
    series = run.world.series()[0]
    tick = run.tick(run.world.values(run.window) | {series: 150.0})
    return by_series(tick, run.detector.score(tick))[series][1]


def _expect(holds: bool, promise: str) -> None:
    if not holds:
        raise CheckFailed(promise)


def _expect_shapes(scores: Scores, tick: Tick) -> None:
    count = len(tick.series)
    for name in ("raw", "tail_p", "direction", "expected_lo", "expected_hi"):
        shape = getattr(scores, name).shape
        _expect(shape == (count,), f"{name} has shape {shape} for {count} series")
    raw, tail_p = scores.raw, scores.tail_p
    _expect(not np.isinf(raw).any(), "a raw score is infinite")
    _expect(np.array_equal(np.isnan(raw), np.isnan(tail_p)), "raw and tail_p are not NaN together")
    known = tail_p[~np.isnan(tail_p)]
    _expect(bool(((known > 0) & (known <= 1)).all()), "a tail_p is not in (0, 1]")
    _expect(set(scores.direction.tolist()) <= {-1, 0, 1}, "a direction is not -1, 0 or 1")


def _expect_outranks(run: Run, one: Series, sign: int) -> None:
    values = run.world.values(run.window)
    values[one] = _spiked(one, values[one], sign)
    tick = run.tick(values)
    rows = by_series(tick, run.detector.score(tick))
    raw, tail_p, direction, *_ = rows.pop(one)
    name = f"a spike {'up' if sign > 0 else 'down'} of {one.entity} {one.indicator}"
    _expect(np.isfinite(raw), f"{name} is not scored")
    others = [row for row in rows.values() if np.isfinite(row[0])]
    _expect(all(raw > row[0] for row in others), f"{name} has no larger raw score than every normal row")
    _expect(all(tail_p < row[1] for row in others), f"{name} has no smaller tail_p than every normal row")
    _expect(tail_p < 0.01, f"{name} has tail_p {tail_p:.3g}")
    _expect(direction == sign, f"{name} has direction {direction}")


def _spiked(one: Series, value: float, sign: int) -> float:
    if one.form == "count":
        return 300.0 if sign > 0 else 0.0
    if one.form in ("duration", "money"):
        return value * float(np.exp(sign * 1.5))
    return value + sign * 75.0


def _expect_ordinary(rows: Mapping[Series, tuple[float, ...]], at_least: float, promise: str) -> None:
    lowest = min((row[1] for row in rows.values() if np.isfinite(row[1])), default=1.0)
    _expect(lowest >= at_least, f"{promise}: tail_p {lowest:.3g}")


def _same(one: Mapping[Series, tuple[float, ...]], other: Mapping[Series, tuple[float, ...]]) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(np.array(row), np.array(other[series]), equal_nan=True) for series, row in one.items()
    )


def _same_windows(
    one: Sequence[Mapping[Series, tuple[float, ...]]], other: Sequence[Mapping[Series, tuple[float, ...]]]
) -> bool:
    return len(one) == len(other) and all(_same(mine, theirs) for mine, theirs in zip(one, other, strict=True))


def _scribble(state: State) -> None:
    """Write into every array and list of a snapshot."""
    todo: list[object] = [state]
    while todo:
        value = todo.pop()
        if isinstance(value, np.ndarray) and value.size:
            value.fill(0)
        elif isinstance(value, dict):
            todo += value.values()
        elif isinstance(value, list):
            todo += value
            value.clear()
