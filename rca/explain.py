"""Who explains whom: how much of an entity's trouble is its dependencies', and whose trouble it would explain."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping

from engine.topology import Topology
from rca.signs import Role, Sign, strongest

TRAVELLING = (Role.LATENCY, Role.ERROR)


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


def explained_share(signs: Mapping[str, list[Sign]], topology: Topology, entity: str, slack_ms: int) -> float:
    """Return how much of an entity's latency and errors its direct dependencies account for, in [0, 1].

    A dependency accounts for as much as its own trouble is strong, less if it began later by more than `slack_ms`, and,
    where both show the same latency, no more than twice its own rise (a caller may ask its callee more than once).
    """
    mine = [one for one in signs.get(entity, ()) if one.role in TRAVELLING]
    if not mine:
        return 0.0
    share = 0.0
    onset = min(one.start_ms for one in mine)
    for below in topology.dependencies(entity):
        theirs = [one for one in signs.get(below, ()) if one.role is not Role.LOAD]
        if not theirs:
            continue
        power = max(one.strength for one in theirs) / max(one.strength for one in mine)
        late = min(one.start_ms for one in theirs) > onset + slack_ms
        share = max(share, min(1.0, power) * _carried(mine, theirs) * (0.5 if late else 1.0))
    return share


def _carried(mine: list[Sign], theirs: list[Sign]) -> float:
    """Return the most that a dependency's rise in latency can carry of the caller's, in [0, 1]; 1 if not comparable."""
    rises = {one.indicator: one.excess for one in theirs if one.role is Role.LATENCY}
    ratios = [
        min(1.0, 2.0 * rises[one.indicator] / one.excess)
        for one in mine
        if one.role is Role.LATENCY and one.indicator in rises and one.excess > 0
    ]
    return max((ratio for ratio in ratios if ratio == ratio), default=1.0)


def upstream_share(signs: Mapping[str, list[Sign]], dependents: Collection[str], entity: str) -> float:
    """Return which share of the others' latency and errors lies with what depends on `entity`, in [0, 1].

    1.0 when nobody else shows any: then there is nothing left to explain.
    """
    total = explained = 0.0
    for other in sorted(signs):
        strength = strongest(signs, other, TRAVELLING) if other != entity else 0.0
        total += strength
        explained += strength if other in dependents else 0.0
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
