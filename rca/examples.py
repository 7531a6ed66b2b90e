"""Small invented incidents with a known cause: what the conformance checks run every ranker on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from engine.ids import content_id
from engine.topology import Edge, Topology
from engine.types import Anomaly, Change, History, Incident, Phase, Ranking, Severity

ONSET_MS = 1_700_000_000_000
WINDOW_MS = 60_000


@dataclass(frozen=True, slots=True)
class Example:
    """One incident, what depends on what, and the entity that caused it."""

    name: str
    incident: Incident
    edges: tuple[tuple[str, str, str], ...]
    cause: str

    def topology(self) -> Topology:
        """Return the graph, every edge seen at the onset."""
        return Topology({Edge(*one): ONSET_MS for one in self.edges})


def service(name: str) -> str:
    """Return the id of a service."""
    return f"demo/service/shop/{name}"


def history() -> History:
    """Return an empty history at the examples' resolution."""
    return History("demo", WINDOW_MS, ONSET_MS - 60 * WINDOW_MS, ONSET_MS + WINDOW_MS, pl.DataFrame())


def anomaly(
    entity: str, indicator: str, observed: float, tail_p: float = 1e-8, windows_late: int = 0, usual: float = 40.0
) -> Anomaly:
    """Return an anomaly above its band of `usual` +- 10 %."""
    start_ms = ONSET_MS + windows_late * WINDOW_MS
    return Anomaly(
        id=content_id("anm", entity, indicator, start_ms),
        entity=entity,
        indicator=indicator,
        form="duration" if indicator.endswith("_ms") else "gauge",
        detectors=("zscore",),
        start_ms=start_ms,
        end_ms=start_ms + WINDOW_MS,
        direction=1 if observed >= usual else -1,
        expected_lo=usual * 0.9,
        expected_hi=usual * 1.1,
        observed=observed,
        tail_p=tail_p,
        severity=Severity.WARNING,
    )


def incident(anomalies: Sequence[Anomaly], changes: Sequence[Change] = ()) -> Incident:
    """Return an open incident of these anomalies."""
    entities = tuple(sorted({one.entity for one in anomalies}))
    return Incident(
        id=content_id("inc", "demo", entities),
        revision=1,
        scope="demo",
        phase=Phase.OPEN,
        severity=Severity.WARNING,
        title="something is slow",
        opened_ms=ONSET_MS + WINDOW_MS,
        updated_ms=ONSET_MS + WINDOW_MS,
        resolved_ms=None,
        entities=entities,
        anomalies=tuple(anomalies),
        changes=tuple(changes),
        transitions=(),
        ranking=Ranking((), "not ranked yet"),
    )


_CALLS = (("gateway", "orders"), ("orders", "payments"), ("orders", "inventory"), ("payments", "store"))
_CHAIN = tuple((service(caller), service(callee), "calls") for caller, callee in _CALLS)


def slow_callee() -> Example:
    """Return: payments became slow, and whoever waits for it with it; their callers a window later."""
    signs = [
        anomaly(service("payments"), "span.p99_ms", 1900.0),
        anomaly(service("orders"), "span.p99_ms", 1930.0),
        anomaly(service("gateway"), "span.p99_ms", 1950.0, windows_late=1),
        anomaly(service("inventory"), "span.p99_ms", 52.0, tail_p=1e-4),
    ]
    return Example("a slow callee", incident(signs), _CHAIN, service("payments"))


def slow_caller() -> Example:
    """Return: orders became slow by itself; a callee is barely slower, and cannot carry it."""
    signs = [
        anomaly(service("orders"), "span.p99_ms", 2400.0),
        anomaly(service("gateway"), "span.p99_ms", 2450.0),
        anomaly(service("payments"), "span.p99_ms", 60.0, tail_p=1e-6),
    ]
    return Example("a slow caller", incident(signs), _CHAIN, service("orders"))


def bad_deployment() -> Example:
    """Return: two services look alike, one of them was deployed 40 s before."""
    summary = "inventory: image 2.3.0 -> 2.3.1"
    change = Change("chg-1", service("inventory"), ONSET_MS - 40_000, "deployment", summary, "obj-1", "obj-2")
    signs = [
        anomaly(service("inventory"), "span.p99_ms", 900.0),
        anomaly(service("payments"), "span.p99_ms", 900.0),
        anomaly(service("orders"), "span.p99_ms", 950.0),
    ]
    return Example("a bad deployment", incident(signs, [change]), _CHAIN, service("inventory"))


def busy_node() -> Example:
    """Return: a node ran out of CPU, and both services that run on it became slow."""
    node = "demo/node/-/node-1"
    edges = (*_CHAIN, (service("payments"), node, "runs_on"), (service("inventory"), node, "runs_on"))
    signs = [
        anomaly(node, "cpu_usage", 0.99, tail_p=1e-9, usual=0.4),
        anomaly(service("payments"), "span.p99_ms", 300.0),
        anomaly(service("inventory"), "span.p99_ms", 280.0),
        anomaly(service("orders"), "span.p99_ms", 400.0, windows_late=1),
    ]
    return Example("a busy node", incident(signs), edges, node)


EXAMPLES = (slow_callee, slow_caller, bad_deployment, busy_node)
"""Every example incident."""
