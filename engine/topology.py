"""The topology graph: who calls whom, what runs where, what belongs to what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# A caller depends on what it calls, a service on the node it runs on: trouble travels from target to source.
EDGE_KINDS = ("calls", "runs_on", "owned_by", "uses")


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """`source` depends on `target`; `kind` says how (calls, runs_on, owned_by, uses)."""

    source: str
    target: str
    kind: str


class Topology:
    """A directed graph of dependencies with the time each edge was last seen.

    Cost: one dict entry an edge. Bounded by `forget`, which drops edges not seen since a given time.
    """

    __slots__ = ("_seen", "_sources", "_targets")

    def __init__(self, edges: Mapping[Edge, int] | None = None) -> None:
        self._seen: dict[Edge, int] = {}
        self._targets: dict[str, dict[str, int]] = {}
        self._sources: dict[str, dict[str, int]] = {}
        for edge, seen_ms in (edges or {}).items():
            self.add(edge, seen_ms)

    def add(self, edge: Edge, seen_ms: int) -> None:
        """Note that `edge` held at `seen_ms`."""
        if edge.source == edge.target:
            return
        if edge not in self._seen:
            self._targets.setdefault(edge.source, {})[edge.target] = 1 + self._targets.get(edge.source, {}).get(
                edge.target, 0
            )
            self._sources.setdefault(edge.target, {})[edge.source] = 1 + self._sources.get(edge.target, {}).get(
                edge.source, 0
            )
        self._seen[edge] = max(seen_ms, self._seen.get(edge, seen_ms))

    def forget(self, before_ms: int) -> None:
        """Drop edges last seen before `before_ms`."""
        kept = {edge: seen for edge, seen in self._seen.items() if seen >= before_ms}
        if len(kept) != len(self._seen):
            self.__init__(kept)  # type: ignore[misc]

    def edges(self) -> list[tuple[Edge, int]]:
        """Return every edge with the time it was last seen, sorted by edge."""
        return sorted(self._seen.items())

    def dependencies(self, entity: str) -> list[str]:
        """Return what `entity` depends on directly (callees, its node), sorted."""
        return sorted(self._targets.get(entity, ()))

    def dependents(self, entity: str) -> list[str]:
        """Return what depends on `entity` directly (callers, workloads on a node), sorted."""
        return sorted(self._sources.get(entity, ()))

    def within(self, entities: Iterable[str], hops: int) -> set[str]:
        """Return `entities` and everything at most `hops` edges away from one of them, in either direction."""
        reached = set(entities)
        frontier = set(reached)
        for _ in range(hops):
            frontier = {
                other
                for entity in frontier
                for other in (*self._targets.get(entity, ()), *self._sources.get(entity, ()))
            } - reached
            reached |= frontier
        return reached
