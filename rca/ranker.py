"""The first ranker: how abnormal, how early, how far upstream, and was something done to it just before.

For every candidate:

    abnormal  its strongest signs, the second half as much; latency and errors as far as no dependency explains them
    upstream  the share of everybody else's latency and errors that lies with what depends on it and that it can carry,
              relative to the best explainer
    early     1 at the first sign of the incident, halving every `early_half_windows` after
    change    a deployment, new configuration or a lost node, by how soon after it signs began and by their share
    score     abnormal * (w_abnormal + w_upstream * upstream + w_early * early) + w_change * change * reach

The weights add up to 1, so the score lies in [0, 1]. It is blind to entities that say nothing and were not changed, and
without a graph it falls back on abnormal, early and change. Cost: a walk over the incident's neighbourhood for each
candidate.

The idea that a caller's trouble is explained by its callee's is that of MonitorRank (Kim, Sumbaly, Shah 2013) and
MicroRCA (Wu et al. 2020), who walk at random over the reversed call graph; here the shares are computed, which gives
every line of evidence a number of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from engine.errors import ConfigError
from engine.topology import Topology
from engine.types import Cause, Change, Evidence, History, Incident, Ranking
from rca import evidence
from rca.explain import Picture, dependents_of, explained_share, path_to, upstream_share
from rca.signs import (
    TRAVELLING,
    Role,
    Sign,
    by_entity,
    of_anomaly,
    of_context,
    rises_of,
    trouble,
    trouble_of,
    volumes_of,
)

_CHANGE_WEIGHTS = {"deployment": 1.0, "config": 0.9, "node": 0.9, "scale": 0.4, "event": 0.2}
_SHARE_FLOOR = 0.25  # explaining less of the others' trouble than this is explaining little, even if nobody does more
_NO_SIGNS: list[Sign] = []


@dataclass(frozen=True, slots=True)
class RankerConfig:
    """How the four kinds of evidence are weighed.

    w_abnormal, w_upstream, w_early, w_change
        weights, normalised to a sum of 1; more `w_upstream` trusts the graph more, more `w_change` the change log
    load_factor
        what a sign of load counts (0.3: load is done to an entity, seldom by it)
    early_half_windows
        a candidate whose first sign comes this many windows after the incident's counts half as early
    change_lookback_ms, change_half_ms, change_grace_ms
        how long before a sign a change counts, after how long it counts half, and how much later than the sign it may
        be stamped
    context_tail_p
        windows this strange count as weak signs of neighbours, below what makes an anomaly
    hops
        how far trouble is followed through the graph
    max_causes, max_evidence
        how many candidates are named, with how many lines each
    min_score
        below this nobody is named
    max_explained
        how much of an entity's trouble its dependencies can account for at most: no graph is complete
    """

    w_abnormal: float = 0.25
    w_upstream: float = 0.35
    w_early: float = 0.10
    w_change: float = 0.30
    load_factor: float = 0.3
    early_half_windows: float = 2.0
    change_lookback_ms: int = 30 * 60_000
    change_half_ms: int = 10 * 60_000
    change_grace_ms: int = 60_000
    context_tail_p: float = 1e-4
    hops: int = 4
    max_causes: int = 10
    max_evidence: int = 6
    min_score: float = 0.01
    max_explained: float = 0.9

    def __post_init__(self) -> None:
        weights = (self.w_abnormal, self.w_upstream, self.w_early, self.w_change)
        if min(weights) < 0 or sum(weights) <= 0:
            raise ConfigError("ranker: weights must not be negative, and one must be positive")
        shares = (self.load_factor, self.max_explained, self.min_score, self.context_tail_p)
        if min(shares) < 0 or max(shares) > 1:
            raise ConfigError("ranker: load_factor, max_explained, min_score and context_tail_p lie within 0 and 1")
        if min(self.early_half_windows, self.change_half_ms, self.hops, self.max_causes, self.max_evidence) <= 0:
            raise ConfigError("ranker: half lives, hops, max_causes and max_evidence must be positive")

    @property
    def name(self) -> str:
        return "shares"

    def build(self) -> SharesRanker:
        """Return the ranker."""
        return SharesRanker(self)


class Suspicion(NamedTuple):
    """A change, how much it counts, and when the first sign began that it may have caused."""

    change: Change
    weight: float
    sign_ms: int


@dataclass(frozen=True, slots=True)
class _Scene:
    """All that is known when candidates are scored."""

    picture: Picture
    changes: Mapping[str, Suspicion]  # the weightiest change of each entity
    onset_ms: int
    window_ms: int
    symptom: str


class SharesRanker:
    """Ranks by shares of explanation (engine.ports.Ranker). Holds no state."""

    __slots__ = ("_config",)

    def __init__(self, config: RankerConfig) -> None:
        self._config = config

    def rank(self, incident: Incident, topology: Topology, features: History) -> Ranking:
        """Return causes, best first, ties by name; abstain when there is no sign, or no candidate with evidence."""
        own = [sign for one in incident.anomalies if (sign := of_anomaly(one)).strength > 0]
        if not own:
            return Ranking((), "no anomaly to explain")
        scene = self._scene(incident, own, topology, features)
        candidates = sorted({*scene.picture.signs, *scene.changes})
        upstream = {entity: self._upstream(scene, entity) for entity in candidates}
        most = max(*upstream.values(), _SHARE_FLOOR)
        causes = [self._cause(scene, entity, upstream[entity], upstream[entity] / most) for entity in candidates]
        named = [one for one in causes if one.score >= self._config.min_score]
        if not named:
            return Ranking((), f"no entity has evidence enough: the best score is below {self._config.min_score:g}")
        best = sorted(named, key=lambda one: (-one.score, one.entity))
        return Ranking(tuple(best[: self._config.max_causes]))

    def _scene(self, incident: Incident, own: list[Sign], topology: Topology, features: History) -> _Scene:
        onset_ms = min(one.start_ms for one in own)
        troubled = {one.entity for one in own}
        near = topology.within(troubled, 2)
        since_ms = onset_ms - 2 * features.resolution_ms
        weak = of_context(features.frame, near | troubled, since_ms, self._config.context_tail_p)
        signs = by_entity([*own, *weak])
        changes: dict[str, Suspicion] = {}
        for one in sorted(incident.changes, key=lambda one: (-one.ts_ms, one.id)):
            suspicion = self._suspicion(one, signs, topology) if one.entity in near | troubled else None
            known = changes.get(one.entity)
            if suspicion is not None and (known is None or suspicion.weight > known.weight):
                changes[one.entity] = suspicion
        window_ms = max(features.resolution_ms, 1)
        symptom = _symptom(signs, troubled, topology, self._config.hops)
        picture = Picture(signs, rises_of(signs, features.frame, since_ms), volumes_of(features.frame), topology)
        return _Scene(picture, changes, onset_ms, window_ms, symptom)

    def _suspicion(self, one: Change, signs: Mapping[str, list[Sign]], topology: Topology) -> Suspicion | None:
        """Return how much a change counts, or None: by its kind, by how soon signs began after it, and which share.

        Only signs of the changed entity and trouble of what depends on it count. In a long incident a change is judged
        by what began after it, not by when the incident did.
        """
        config = self._config
        related = list(signs.get(one.entity, ()))
        for other in sorted(dependents_of(topology, one.entity, config.hops)):
            related += trouble_of(signs, other)
        after = [
            sign
            for sign in related
            if -config.change_grace_ms <= sign.start_ms - one.ts_ms <= config.change_lookback_ms
        ]
        if not after:
            return None
        # A sign begins with its window, so one that the change caused may seem to begin a little before it.
        sign_ms = min([sign.start_ms for sign in after if sign.start_ms >= one.ts_ms] or [s.start_ms for s in after])
        fresh = 0.5 ** (max(sign_ms - one.ts_ms, 0) / config.change_half_ms)
        share = sum(sign.strength for sign in after) / sum(sign.strength for sign in related)
        return Suspicion(one, _CHANGE_WEIGHTS.get(one.kind, 0.2) * fresh * share, sign_ms)

    def _upstream(self, scene: _Scene, entity: str) -> float:
        return upstream_share(scene.picture, dependents_of(scene.picture.topology, entity, self._config.hops), entity)

    def _cause(self, scene: _Scene, entity: str, share: float, upstream: float) -> Cause:
        config = self._config
        signs = scene.picture.signs.get(entity, _NO_SIGNS)
        dependents = dependents_of(scene.picture.topology, entity, config.hops)
        explained = config.max_explained * explained_share(scene.picture, entity, scene.window_ms)
        suspicion = scene.changes.get(entity)
        weight = suspicion.weight if suspicion is not None else 0.0
        abnormal = self._abnormal(signs, explained)
        reach = max(abnormal, upstream * _trouble(scene, dependents))
        total = config.w_abnormal + config.w_upstream + config.w_early + config.w_change
        graph = config.w_abnormal + config.w_upstream * upstream + config.w_early * self._early(scene, signs)
        score = (abnormal * graph + config.w_change * weight * reach) / total
        lines = [evidence.of_sign(one) for one in signs[: config.max_evidence]]
        if suspicion is not None:
            lines.append(evidence.of_change(*suspicion))
        lines += _share_line(scene, entity, dependents, share)
        lines.sort(key=lambda one: (one.kind != "change", -one.strength, one.at_ms, one.indicator))
        path = path_to(scene.picture.topology, entity, scene.symptom)
        return Cause(entity, round(min(1.0, score), 6), tuple(lines[: config.max_evidence]), path)

    def _abnormal(self, signs: list[Sign], explained: float) -> float:
        """Return how abnormal an entity is beyond what its dependencies explain: 1 less the product of what is left."""
        factors = {Role.OWN: 1.0, Role.LOAD: self._config.load_factor, **dict.fromkeys(TRAVELLING, 1.0 - explained)}
        by_role: dict[Role, float] = {}
        for one in signs:
            counted = one.strength * factors[one.role] * (1.0 if one.bad else self._config.load_factor)
            by_role[one.role] = max(by_role.get(one.role, 0.0), counted)
        left = 1.0
        for place, strength in enumerate(sorted(by_role.values(), reverse=True)):
            left *= 1.0 - strength * 0.5**place
        return 1.0 - left

    def _early(self, scene: _Scene, signs: list[Sign]) -> float:
        if not signs:
            return 0.0
        late = (min(one.start_ms for one in signs) - scene.onset_ms) / scene.window_ms
        return float(0.5 ** (max(late, 0.0) / self._config.early_half_windows))


def _trouble(scene: _Scene, dependents: Mapping[str, int]) -> float:
    """Return the strongest latency or error among what depends on a candidate."""
    return max((trouble(scene.picture.signs, one) for one in dependents), default=0.0)


def _share_line(scene: _Scene, entity: str, dependents: Mapping[str, int], share: float) -> list[Evidence]:
    troubled = [one for one in sorted(scene.picture.signs) if one != entity and trouble(scene.picture.signs, one) > 0]
    explained = [one for one in troubled if one in dependents]
    return [evidence.of_share(entity, share, explained, len(troubled), scene.onset_ms)] if explained else []


def _symptom(signs: Mapping[str, list[Sign]], troubled: set[str], topology: Topology, hops: int) -> str:
    """Return where users notice: a troubled entity on which no other troubled one depends; of several the strangest."""
    tops = [one for one in sorted(troubled) if not troubled & dependents_of(topology, one, hops).keys()]
    return min(tops or sorted(troubled), key=lambda one: (-trouble(signs, one), one))
