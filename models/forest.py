"""Isolation forests over the indicators of a class of entities: trained with scikit-learn, kept and walked as arrays.

Liu, Ting & Zhou, 2008, ICDM, "Isolation forest": what is strange is separated by few random cuts, so its paths are
short; the score is 2^(-mean path / c(n)), eq. 2. A class is every entity of one kind; its features are the indicators
that most of them have, each normalised by its series' usual level and spread: entities of any size share a forest.

Where we depart: a forest cannot tell how far beyond all it was trained on a value lies (its last cut is the same for 4
and for 40 deviations), so a row beyond the range of training is moved towards 1 by its distance from that range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import DataError
from engine.types import Floats, History, Ints, State
from models.panel import Panel, normal, panel

VERSION: Final = 1
LARGEST_DEVIATION: Final = 20.0
"""Deviations beyond are cut: they are as strange as can be, and sums stay finite."""

_MOST_FEATURES: Final = 64
_SLACK: Final = (
    1.0  # deviations beyond the training range that are still nothing: extremes of more rows lie further out
)
_FAR: Final = 5.0  # deviations beyond it that close two thirds of the way to 1
_CALIBRATION_ROWS: Final = 20_000
_QUANTILES: Final = np.concatenate([np.linspace(0.0, 0.95, 39), [0.96, 0.97, 0.98]])
# Indicators that exist once a template or an operation: they come and go, and there are thousands.
_SPARSE: Final = r"^(log\.template\.|event\.)|\{"


@dataclass(frozen=True, slots=True)
class ForestFitter:
    """Trains the forests of one scope; see `detectors.forest.Forest` for the settings."""

    trees: int
    sample: int
    min_rows: int

    @property
    def name(self) -> str:
        return "forest"

    @property
    def resolution(self) -> str:
        return "base"

    def fit(self, history: History, seed: int) -> State:
        """Return forests by kind of entity; raise DataError when no kind has rows enough.

        About 0.2 s and 60 kB a kind. Deterministic given the seed: one thread, and rows in sorted order.
        """
        data = panel(history, ~pl.col("indicator").str.contains(_SPARSE), min_windows=10)
        centre, spread = normal(data)
        classes = [
            one
            for kind in sorted({_kind_of(series.entity) for series in data.series})
            if (one := self._fit_kind(kind, data, (data.scaled - centre[:, None]) / spread[:, None], seed)) is not None
        ]
        if not classes:
            raise DataError(
                f"forest: no kind of entity in scope {history.scope} has two indicators and {self.min_rows} windows yet"
            )
        return {
            "version": VERSION,
            "classes": classes,
            "entities": [one.entity for one in data.series],
            "indicators": [one.indicator for one in data.series],
            "centre": centre,
            "spread": spread,
        }

    def _fit_kind(self, kind: str, data: Panel, deviations: Floats, seed: int) -> dict[str, Any] | None:
        members = [at for at, one in enumerate(data.series) if _kind_of(one.entity) == kind]
        features = _shared([(data.series[at].entity, data.series[at].indicator) for at in members])
        rows = _rows(data, deviations, members, features)
        if len(features) < 2 or len(rows) < self.min_rows:
            return None
        trees = _grow(rows, self.trees, self.sample, seed)
        stride = -(-len(rows) // _CALIBRATION_ROWS)
        forest = {"trees": trees, "lowest": rows.min(axis=0), "highest": rows.max(axis=0)}
        scores = isolation(forest, rows[::stride])
        threshold = float(np.quantile(scores, _QUANTILES[-1]))
        beyond = scores[scores > threshold] - threshold
        return forest | {
            "kind": kind,
            "features": features,
            "quantiles": np.quantile(scores, _QUANTILES),
            # at least a little: scores of a calm history must not make the first small surprise infinitely strange
            "excess": max(float(beyond.mean()) if beyond.size else 0.0, 0.01),
        }


def isolation(forest: State, rows: Floats) -> Floats:
    """Return how isolated each row is, (N,), in (0, 1): the forest's score, and the distance beyond what it knows."""
    outside = np.maximum(forest["lowest"] - rows, rows - forest["highest"]) - _SLACK
    distance = np.maximum(outside, 0.0).max(axis=1)
    isolated: Floats = 1.0 - (1.0 - walk(forest["trees"], rows)) * np.exp(-distance / _FAR)
    return isolated


def walk(trees: State, rows: Floats) -> Floats:
    """Return the isolation score in (0, 1) of each row, (N,), by walking all trees at once.

    `rows` is (N, features). One pass a level over (N, trees); as deep as the deepest tree. The same row gives the same
    score in any company.
    """
    x = rows.astype(np.float32)
    feature, threshold, children = trees["feature"], trees["threshold"], trees["children"]
    at = np.broadcast_to(trees["roots"], (len(x), len(trees["roots"]))).copy()
    row = np.arange(len(x))[:, None]
    for _ in range(int(trees["depth"])):
        right = x[row, feature[at]] > threshold[at]
        at = children[at, right.astype(np.int64)]
    # paths are kept as whole 2^-20ths, so that their sum does not depend on its order
    total = trees["path"][at].sum(axis=1)
    score: Floats = np.exp2(-(total / float(1 << 20)) / (len(trees["roots"]) * float(trees["usual"])))
    return score


def tail_of(quantiles: Floats, excess: float, scores: Floats) -> Floats:
    """Return the share of training scores above each score; beyond the last quantile the tail is exponential."""
    inside = 1.0 - np.interp(scores, quantiles, _QUANTILES)
    beyond = (1.0 - _QUANTILES[-1]) * np.exp(-np.maximum(scores - quantiles[-1], 0.0) / excess)
    tail: Floats = np.where(scores > quantiles[-1], beyond, np.minimum(inside, 1.0))
    return tail


def _kind_of(entity: str) -> str:
    return entity.split("/")[1]


def _shared(pairs: list[tuple[str, str]]) -> list[str]:
    """Return the indicators that half of the entities or more have, sorted; the most widespread when many."""
    entities = len({entity for entity, _ in pairs})
    count: dict[str, int] = {}
    for _, indicator in sorted(set(pairs)):
        count[indicator] = count.get(indicator, 0) + 1
    common = sorted((-n, indicator) for indicator, n in count.items() if 2 * n >= entities)
    return sorted(indicator for _, indicator in common[:_MOST_FEATURES])


def _rows(data: Panel, deviations: Floats, members: list[int], features: list[str]) -> Floats:
    """Return (entity and window, feature) deviations, entities sorted; rows that miss more than half are left out."""
    column = {indicator: at for at, indicator in enumerate(features)}
    entities = sorted({data.series[at].entity for at in members})
    place = {entity: at for at, entity in enumerate(entities)}
    cube = np.full((len(entities), deviations.shape[1], len(features)), np.nan)
    for at in members:
        one = data.series[at]
        if one.indicator in column:
            cube[place[one.entity], :, column[one.indicator]] = deviations[at]
    rows = cube.reshape(-1, len(features))
    rows = rows[2 * np.isfinite(rows).sum(axis=1) >= max(len(features), 1)]
    return clean(rows)


def clean(rows: Floats) -> Floats:
    """Return rows fit for the trees: missing deviations are 0, and none is beyond `LARGEST_DEVIATION`."""
    cleaned: Floats = np.clip(np.nan_to_num(rows, nan=0.0), -LARGEST_DEVIATION, LARGEST_DEVIATION)
    return cleaned


def _grow(rows: Floats, trees: int, sample: int, seed: int) -> State:
    """Train and return the trees as arrays over all nodes; a leaf is its own child."""
    from sklearn.ensemble import IsolationForest

    size = min(sample, len(rows))
    model = IsolationForest(n_estimators=trees, max_samples=size, random_state=seed, n_jobs=1)
    model.fit(rows.astype(np.float32))
    roots, depth = [], 0
    parts: list[tuple[NDArray[Any], ...]] = []
    base = 0
    for tree in (one.tree_ for one in model.estimators_):
        own = np.arange(tree.node_count)
        leaf = tree.children_left < 0
        left, right = np.where(leaf, own, tree.children_left), np.where(leaf, own, tree.children_right)
        path = np.where(leaf, _depths(tree) + _usual_path(tree.n_node_samples), 0.0)
        feature = np.where(leaf, 0, tree.feature)
        parts.append((feature, tree.threshold, np.stack([left, right], axis=1) + base, path))
        roots.append(base)
        base += tree.node_count
        depth = max(depth, int(tree.max_depth))
    feature, threshold, children, path = (np.concatenate(column) for column in zip(*parts, strict=True))
    return {
        "roots": np.array(roots, dtype=np.int64),
        "feature": feature.astype(np.int64),
        "threshold": threshold.astype(np.float64),
        "children": children.astype(np.int64),
        "path": np.rint(path * (1 << 20)).astype(np.int64),
        "depth": depth,
        "usual": float(_usual_path(np.array([size]))[0]),
    }


def _depths(tree: Any) -> Ints:
    depths = np.zeros(tree.node_count, dtype=np.int64)
    for node in range(tree.node_count):  # a node is numbered before its children
        if tree.children_left[node] >= 0:
            depths[tree.children_left[node]] = depths[tree.children_right[node]] = depths[node] + 1
    return depths


def _usual_path(samples: Ints) -> Floats:
    """Return c(n), the mean path of an unsuccessful search among n: eq. 1 of the paper."""
    n = np.maximum(samples.astype(np.float64), 2.0)
    harmonic = np.log(np.maximum(n - 1.0, 1.0)) + np.euler_gamma
    path: Floats = np.where(samples <= 1, 0.0, np.where(samples == 2, 1.0, 2.0 * harmonic - 2.0 * (n - 1.0) / n))
    return path
