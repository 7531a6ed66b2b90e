"""Isolation forest: is an entity's combination of indicators strange for entities of its kind?

Finds what no single series shows: load without latency, errors without load. Blind to the order of windows.
Needs a fit (`models.forest`) before it says anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from detectors.calibration import TailCalibration, score_of
from detectors.fitted import copied
from engine.errors import ConfigError, StateMismatch
from engine.ports import Fitter
from engine.types import Fit, Floats, Ints, Scores, Series, SeriesIndex, State, Tick
from models import scales
from models.forest import ForestFitter, clean, isolation, tail_of

VERSION: Final = 1
_BAND: Final = 3.0  # deviations; a forest has no band of its own


@dataclass(frozen=True, slots=True)
class Forest:
    """Builds isolation-forest detectors.

    trees
        More: smoother scores, and proportionally slower.
    sample
        Rows each tree sees. The paper's 256 is enough; more makes deeper trees that see finer structure.
    min_rows
        Windows of entities, all of one kind together, below which no forest is trained.
    """

    trees: int = 64
    sample: int = 256
    min_rows: int = 100

    def __post_init__(self) -> None:
        if not 1 <= self.trees <= 1_000:
            raise ConfigError(f"forest.trees is {self.trees}; it must be from 1 to 1000")
        if not 8 <= self.sample <= 65_536:
            raise ConfigError(f"forest.sample is {self.sample}; it must be from 8 to 65536")
        if self.min_rows < 8:
            raise ConfigError(f"forest.min_rows is {self.min_rows}; it must be at least 8")

    @property
    def name(self) -> str:
        return "forest"

    def build(self, seed: int, resume: State | None = None) -> ForestDetector:
        """Return a detector for one shard; `seed` decides nothing here, it decides the fit."""
        return ForestDetector(resume)

    def fitter(self) -> Fitter | None:
        """Return what trains the forests, each kind of entity its own."""
        return ForestFitter(self.trees, self.sample, self.min_rows)


class _Layout:
    """Where each series of the index belongs, by number; follows from index and models, so it is never state."""

    def __init__(self, models: dict[str, State]) -> None:
        self._models = models
        self._entities: dict[str, int] = {}
        self._columns: dict[tuple[str, str], tuple[int, dict[str, int]]] = {}
        self._known: dict[str, dict[tuple[str, str], int]] = {}
        self.forests: list[dict[str, Any]] = []
        for scope, model in sorted(models.items()):
            pairs = zip(model["entities"], model["indicators"], strict=True)
            self._known[scope] = {pair: at for at, pair in enumerate(pairs)}
            for forest in model["classes"]:
                places = {indicator: at for at, indicator in enumerate(forest["features"])}
                self._columns[scope, forest["kind"]] = (len(self.forests), places)
                self.forests.append(forest)
        self.entity = np.empty(0, dtype=np.int64)  # dense number of its entity
        self.group = np.empty(0, dtype=np.int64)  # which forest, -1 for none
        self.column = np.empty(0, dtype=np.int64)
        self.centre = np.empty(0)
        self.spread = np.empty(0)
        self.forms = scales.codes([])

    def extend(self, index: SeriesIndex) -> None:
        """Place the series that are new in `index`; costs as much as there are new ones."""
        new = index.all()[len(self.entity) :]
        if not new:
            return
        placed = [self._place(one) for one in new]
        entity, group, column, centre, spread = (list(each) for each in zip(*placed, strict=True))
        self.entity = np.concatenate([self.entity, np.array(entity, dtype=np.int64)])
        self.group = np.concatenate([self.group, np.array(group, dtype=np.int64)])
        self.column = np.concatenate([self.column, np.array(column, dtype=np.int64)])
        self.centre = np.concatenate([self.centre, np.array(centre, dtype=np.float64)])
        self.spread = np.concatenate([self.spread, np.array(spread, dtype=np.float64)])
        self.forms = np.concatenate([self.forms, scales.codes(new)])

    def _place(self, one: Series) -> tuple[int, int, int, float, float]:
        entity = self._entities.setdefault(one.entity, len(self._entities))
        scope, kind = one.entity.split("/")[:2]
        forest, places = self._columns.get((scope, kind), (-1, {}))
        known = self._known.get(scope, {}).get((one.entity, one.indicator))
        if known is None or one.indicator not in places:
            return entity, -1, 0, float("nan"), float("nan")
        model = self._models[scope]
        return entity, forest, places[one.indicator], model["centre"][known], model["spread"][known]


class _Judged(NamedTuple):
    """What a tick showed: for each series its deviation, and for each judged entity its score and whom it blames."""

    deviation: Floats  # (N,) in usual deviations; NaN when not modelled or missing
    entity: Ints  # (E,) dense numbers
    raw: Floats  # (E,)
    score: Floats  # (E,) on the scale of deviations, for `TailCalibration`
    blamed: Ints  # (E,) position in the tick


class ForestDetector:
    """Scores one shard: about 11 µs an entity and window, however many series; 16 bytes an entity, and forests.

    `raw` is the isolation score in (0, 1) and goes to the series with the largest deviation; the entity's others are
    NaN. tail_p: the share of training scores above it (exponential beyond the 98th percentile), recalibrated by what
    the stream shows (`TailCalibration`).
    """

    def __init__(self, resume: State | None = None) -> None:
        if resume is not None and resume.get("version") != VERSION:
            raise StateMismatch(f"forest state has version {resume.get('version')}, this program writes {VERSION}")
        self._models: dict[str, State] = {} if resume is None else dict(resume["models"])
        self._tails = TailCalibration(1, None if resume is None else resume["tails"])
        self._layout = _Layout(self._models)
        self._judged: tuple[Tick, _Judged] | None = None  # of the tick scored last: it is learned next

    def score(self, tick: Tick) -> Scores:
        """Return the score of each entity at the series it blames; NaN elsewhere, and everywhere before a fit."""
        count = len(tick.series)
        raw, tail_p, lo, hi = (np.full(count, np.nan) for _ in range(4))
        direction = np.zeros(count, dtype=np.int8)
        layout = self._laid_out(tick.index)
        judged = self._judge(tick, layout)
        self._judged = (tick, judged)
        at = judged.blamed
        raw[at] = judged.raw
        tail_p[at] = self._tails.tail_p(judged.entity, np.zeros_like(judged.entity), judged.score)
        direction[at] = np.sign(judged.deviation[at]).astype(np.int8)
        series = tick.series[at]
        half, forms = _BAND * layout.spread[series], layout.forms[series]
        lo[at] = scales.backward(layout.centre[series] - half, forms)
        hi[at] = scales.backward(layout.centre[series] + half, forms)
        return Scores(raw, tail_p, direction, lo, hi)

    def learn(self, tick: Tick) -> None:
        """Take the entities' scores into the calibration; the forests themselves learn by fits."""
        if self._judged is not None and self._judged[0] is tick:
            judged = self._judged[1]
        else:
            judged = self._judge(tick, self._laid_out(tick.index))
        everyone = np.ones(len(judged.entity), dtype=np.bool_)
        self._tails.learn(judged.entity, np.zeros_like(judged.entity), judged.score, everyone)

    def adopt(self, fit: Fit) -> None:
        """Use the scope's new forests from now on; fits of other models are ignored."""
        if fit.model == "forest" and fit.state is not None:
            self._models[fit.scope] = fit.state
            self._layout = _Layout(self._models)
            self._judged = None

    def snapshot(self) -> State:
        """Return a copy of all state. Models are never written to, and shared."""
        return {
            "version": VERSION,
            "models": {scope: copied(model) for scope, model in sorted(self._models.items())},
            "tails": self._tails.snapshot(),
        }

    def _judge(self, tick: Tick, layout: _Layout) -> _Judged:
        series = tick.series
        value = scales.forward(tick.values, layout.forms[series])
        deviation = (value - layout.centre[series]) / layout.spread[series]
        parts = list(self._judge_groups(tick, layout, deviation))
        if not parts:
            none = np.empty(0, dtype=np.int64)
            return _Judged(deviation, none, np.empty(0), np.empty(0), none)
        entity, raw, score, blamed = (np.concatenate(column) for column in zip(*parts, strict=True))
        return _Judged(deviation, entity, raw, score, blamed)

    def _judge_groups(
        self, tick: Tick, layout: _Layout, deviation: Floats
    ) -> Iterator[tuple[Ints, Floats, Floats, Ints]]:
        group = np.where(np.isfinite(deviation), layout.group[tick.series], -1)
        for number in np.unique(group[group >= 0]).tolist():
            forest = layout.forests[number]
            at = np.flatnonzero(group == number)
            entities, row = np.unique(layout.entity[tick.series[at]], return_inverse=True)
            rows = np.full((len(entities), len(forest["features"])), np.nan)
            rows[row, layout.column[tick.series[at]]] = deviation[at]
            known = np.flatnonzero(2 * np.isfinite(rows).sum(axis=1) >= rows.shape[1])
            if not known.size:
                continue
            worst = np.nanargmax(np.abs(rows[known]), axis=1)
            place = np.full(rows.shape, -1, dtype=np.int64)
            place[row, layout.column[tick.series[at]]] = at
            raw = isolation(forest, clean(rows[known]))
            score = score_of(tail_of(forest["quantiles"], forest["excess"], raw))
            yield entities[known], raw, score, place[known, worst]

    def _laid_out(self, index: SeriesIndex) -> _Layout:
        self._layout.extend(index)
        return self._layout
