"""Who explains whom: how much of an entity's trouble is its dependencies', and whose trouble it would explain."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from engine.topology import Topology
from rca.signs import Role, Sign, trouble, trouble_of

_SLACK: Final = 2.0
"""A dependency carries up to this many times its rise: callers may ask more than once, and quantiles do not add up."""

Numbers = Mapping[str, Mapping[str, float]]
"""One number a series: {entity: {indicator: number}}."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What is known of everybody: signs, rises of all series (signs or not), traffic, and who depends on whom."""

    signs: Mapping[str, list[Sign]]
    rises: Numbers
    volumes: Numbers
    topology: Topology


def dependents_of(topology: Topology, entity: str, hops: int) -> dict[str, int]:
    """Return everything that depends on `entity`, directly or through others, with its distance; at most `hops` away.

    Cost: one visit an edge among what is reached.
    """
    distance = {entity: 0}
    queue = deque([entity])
    while queue:
        here = queue.popleft()
        if distance[here] == hops:
            continue
        for above in topology.dependents(here):
            if above not in distance:
                distance[above] = distance[here] + 1
                queue.append(above)
    del distance[entity]
    return distance


def explained_share(picture: Picture, entity: str, slack_ms: int) -> float:
    """Return how much of an entity's latency and errors its direct dependencies account for, in [0, 1].

    A dependency accounts for as much as its own trouble is strong, less if it began later by more than `slack_ms`, and
    no more than it can carry.
    """
    mine = trouble_of(picture.signs, entity)
    if not mine:
        return 0.0
    share = 0.0
    onset = min(one.start_ms for one in mine)
    for below in picture.topology.dependencies(entity):
        theirs = _causes(picture, below)
        if theirs:
            power = max(one.strength for one in theirs) / max(one.strength for one in mine)
            late = min(one.start_ms for one in theirs) > onset + slack_ms
            share = max(share, min(1.0, power) * carried(picture, entity, below) * (0.5 if late else 1.0))
    return share


def carried(picture: Picture, above: str, below: str) -> float:
    """Return how much of `above`'s rise in latency and errors the rise of `below` can carry, in [0, 1].

    Compared are series of the same indicator: a tenth of the rise over as many requests carries a tenth of the trouble,
    twice allowed for. 1.0 where nothing can be compared, as with a dependency that shows only its own resources.
    """
    rises = picture.rises.get(below, {})
    traffic = _traffic_ratio(picture.volumes, above, below)
    total = weights = 0.0
    for one in trouble_of(picture.signs, above):
        rise = rises.get(one.indicator, math.nan)
        if one.excess > 0 and not math.isnan(rise):
            total += one.strength * min(1.0, _SLACK * traffic * rise / one.excess)
            weights += one.strength
    return total / weights if weights > 0 else 1.0


def _traffic_ratio(volumes: Numbers, above: str, below: str) -> float:
    """Return how many requests `below` has for each of `above`; 1.0 when that is not known."""
    mine, theirs = volumes.get(above, {}), volumes.get(below, {})
    for indicator in sorted(mine.keys() & theirs.keys()):
        if mine[indicator] > 0 and theirs[indicator] >= 0:
            return theirs[indicator] / mine[indicator]
    return 1.0


def _causes(picture: Picture, entity: str) -> list[Sign]:
    return [one for one in picture.signs.get(entity, ()) if one.role is not Role.LOAD and one.bad]


def upstream_share(picture: Picture, dependents: Collection[str], entity: str) -> float:
    """Return which share of the others' latency and errors lies with what depends on `entity`, in [0, 1].

    Strong trouble counts more than its share (by its square). 1.0 when nobody else shows any: then there is nothing
    left to explain.
    """
    total = explained = 0.0
    comparable = bool(_causes(picture, entity))
    for other in sorted(picture.signs):
        weight = trouble(picture.signs, other) ** 2 if other != entity else 0.0
        total += weight
        if other in dependents and weight:
            explained += weight * (carried(picture, other, entity) if comparable else 1.0)
    return explained / total if total > 0 else 1.0


def path_to(topology: Topology, cause: str, symptom: str) -> tuple[str, ...]:
    """Return the shortest way from the cause up to the symptom, both included; only the cause when there is none.

    Among equally short ways the first by name.
    """
    before: dict[str, str] = {cause: cause}
    queue = deque([cause])
    while queue and symptom not in before:
        here = queue.popleft()
        for above in topology.dependents(here):
            if above not in before:
                before[above] = here
                queue.append(above)
    if symptom not in before:
        return (cause,)
    path = [symptom]
    while path[-1] != cause:
        path.append(before[path[-1]])
    return tuple(reversed(path))
