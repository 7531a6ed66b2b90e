"""Conformance checks: what every ranker has to keep, run on every registered one and on yours.

`run_all(ranker, examples)` returns what it found wrong, so a test reads `assert run_all(mine, EXAMPLES) == []`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from engine.ports import Ranker
from engine.topology import Edge, Topology
from engine.types import Anomaly, Change, Incident, Ranking
from rca.examples import ONSET_MS, Example, anomaly, history, incident, service

Examples = Sequence[Example]
Check = Callable[[Ranker, Examples], list[str]]


def _rank(ranker: Ranker, one: Example) -> Ranking:
    return ranker.rank(one.incident, one.topology(), history())


def check_finds_the_cause(ranker: Ranker, examples: Examples) -> list[str]:
    """Refuse a ranker that does not rank the planted cause first."""
    found = []
    for one in examples:
        causes = _rank(ranker, one).causes
        if not causes or causes[0].entity != one.cause:
            found.append(f"{one.name}: the first cause is {causes[0].entity if causes else 'none'}, not {one.cause}")
    return found


def check_scores(ranker: Ranker, examples: Examples) -> list[str]:
    """Refuse scores outside [0, 1], NaN, a cause named twice, and an order that is not best first."""
    found = []
    for one in examples:
        scores = [cause.score for cause in _rank(ranker, one).causes]
        entities = [cause.entity for cause in _rank(ranker, one).causes]
        if any(math.isnan(score) or not 0 <= score <= 1 for score in scores):
            found.append(f"{one.name}: a score lies outside [0, 1]: {scores}")
        if scores != sorted(scores, reverse=True):
            found.append(f"{one.name}: not best first: {scores}")
        if len(set(entities)) != len(entities):
            found.append(f"{one.name}: an entity is named twice")
    return found


def check_pure(ranker: Ranker, examples: Examples) -> list[str]:
    """Refuse a ranker that answers differently when asked twice."""
    differing = (one for one in examples if _rank(ranker, one) != _rank(ranker, one))
    return [f"{one.name}: another answer when asked twice" for one in differing]


def check_order(ranker: Ranker, examples: Examples) -> list[str]:
    """Refuse a ranker for which the order of anomalies, changes or edges matters."""
    found = []
    for one in examples:
        turned = replace(
            one.incident,
            anomalies=tuple(reversed(one.incident.anomalies)),
            changes=tuple(reversed(one.incident.changes)),
            entities=tuple(reversed(one.incident.entities)),
        )
        topology = Topology({Edge(*edge): ONSET_MS for edge in reversed(one.edges)})
        if ranker.rank(turned, topology, history()) != _rank(ranker, one):
            found.append(f"{one.name}: the order of what it is given decides")
    return found


def check_names(ranker: Ranker, examples: Examples) -> list[str]:
    """Refuse a ranker for which the names of entities matter: renamed, the same scores belong to the same entities."""
    found = []
    for one in examples:
        names = _renamed(one)
        turned = replace(
            one,
            incident=_rename(one.incident, names),
            edges=tuple((names.get(a, a), names.get(b, b), kind) for a, b, kind in one.edges),
        )
        before = {names.get(cause.entity, cause.entity): cause.score for cause in _rank(ranker, one).causes}
        if {cause.entity: cause.score for cause in _rank(ranker, turned).causes} != before:
            found.append(f"{one.name}: other scores under other names")
    return found


def check_abstains(ranker: Ranker, examples: Examples) -> list[str]:
    """Refuse a ranker that names causes without evidence: no anomalies, none that is ready, none stranger than usual.

    A list of names in some order (of columns, of the alphabet) is failure dressed as an answer.
    """
    found = []
    for what, anomalies in _nothing():
        for topology in (Topology(), *(one.topology() for one in examples)):
            ranking = ranker.rank(replace(incident(anomalies), changes=()), topology, history())
            if ranking.causes:
                found.append(f"it names {ranking.causes[0].entity} {what}")
            elif not (ranking.abstained or "").strip():
                found.append(f"it abstains without a reason {what}")
    return sorted(set(found))


def check_evidence(ranker: Ranker, examples: Examples) -> list[str]:
    """Refuse a cause without evidence of its own in words, or whose path does not begin with it."""
    found = []
    for one in examples:
        for cause in _rank(ranker, one).causes:
            if not cause.evidence or not all(line.text.strip() for line in cause.evidence):
                found.append(f"{one.name}: {cause.entity} is named without evidence in words")
            if any(line.entity != cause.entity for line in cause.evidence):
                found.append(f"{one.name}: evidence of {cause.entity} is about another entity")
            if not cause.path or cause.path[0] != cause.entity:
                found.append(f"{one.name}: the path of {cause.entity} begins elsewhere")
    return found


CHECKS: Mapping[str, Check] = {
    "finds the cause": check_finds_the_cause,
    "scores": check_scores,
    "pure": check_pure,
    "order": check_order,
    "names": check_names,
    "abstains": check_abstains,
    "evidence": check_evidence,
}


def run_all(ranker: Ranker, examples: Examples) -> list[str]:
    """Return everything that any check finds wrong; an empty list means that the ranker conforms."""
    return [f"{name}: {text}" for name, check in CHECKS.items() for text in check(ranker, examples)]


def _nothing() -> Iterator[tuple[str, list[Anomaly]]]:
    yield "without any anomaly", []
    names = [service(name) for name in ("payments", "orders", "gateway")]
    yield "of which none is ready", [anomaly(one, "span.p99_ms", 40.0, tail_p=math.nan) for one in names]
    yield "of which none is strange", [anomaly(one, "span.p99_ms", 40.0, tail_p=1.0) for one in names]


def _renamed(one: Example) -> dict[str, str]:
    """Return new names that reverse the alphabetical order of all entities."""
    known = {name for edge in one.edges for name in edge[:2]} | set(one.incident.entities)
    ordered = sorted(known)
    return {name: f"demo/{name.split('/')[1]}/x/n{len(ordered) - place:03d}" for place, name in enumerate(ordered)}


def _rename(one: Incident, names: Mapping[str, str]) -> Incident:
    def renamed(value: Anomaly | Change) -> str:
        return names.get(value.entity, value.entity)

    return replace(
        one,
        entities=tuple(sorted(names.get(name, name) for name in one.entities)),
        anomalies=tuple(replace(value, entity=renamed(value)) for value in one.anomalies),
        changes=tuple(replace(value, entity=renamed(value)) for value in one.changes),
    )
