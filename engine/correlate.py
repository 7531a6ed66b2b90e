"""The correlate stage: anomalies that are close in time and in the topology become one incident.

Every step in an incident's life has a reason, in words that the operator is shown. Whether a group of anomalies is
worth waking somebody for is decided by the alarm budget: of all series scored in a window, how likely would chance
alone show a group at least this strange? (R. J. Simes, 1986, "An improved Bonferroni procedure for multiple tests of
significance": min over k of N p_(k) / k, valid under positive dependence.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from engine.ids import content_id
from engine.topology import Topology
from engine.types import Anomaly, Change, Incident, Phase, Ranking, Severity, State, Transition
from engine.values import plain, value

DAY_MS = 86_400_000


QUIET_WINDOWS: Final = 3
"""Windows of an incident's resolution that must be quiet before it resolves: with one a day, minutes say nothing."""


@dataclass(frozen=True, slots=True)
class CorrelateConfig:
    """When anomalies become an incident.

    alarm_budget_per_day    false incidents a day that people accept for one scope and resolution; the only threshold
    continue_tail_p         a group this unlikely (of all series in the window) continues an open incident
    confirm_windows         a group that users do not notice yet opens only when it shows in two windows, at most this
                            many apart; one odd window is the commonest false alarm there is. 0: opens at once
    hops                    anomalies at most this many topology edges apart belong together
    quiet_ms                an incident without a continuing group for this long, and for QUIET_WINDOWS, is resolved
    change_lookback_ms      changes this long before the first anomaly are shown with the incident
    max_anomalies           series kept with an incident, the strangest first
    """

    alarm_budget_per_day: float = 1.0
    continue_tail_p: float = 0.01
    confirm_windows: int = 2
    hops: int = 1
    quiet_ms: int = 600_000
    change_lookback_ms: int = 1_800_000
    max_anomalies: int = 200


@dataclass(slots=True)
class _Open:
    """An open incident while it is being built."""

    incident: Incident
    last_ms: int  # end of the last window that continued it


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A group that would have opened an incident had it not been its first window."""

    end_ms: int
    entities: tuple[str, ...]
    anomalies: tuple[Anomaly, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Anomalies of one window that hang together, and how likely chance shows a group at least this strange."""

    anomalies: tuple[Anomaly, ...]
    entities: tuple[str, ...]
    tail_p: float


class Correlator:
    """The incidents of one scope at one resolution. State: open incidents, and changes of the look-back time."""

    def __init__(self, config: CorrelateConfig, scope: str, resolution_ms: int, resume: State | None = None) -> None:
        self._config = config
        self._scope = scope
        self._resolution_ms = resolution_ms
        self._quiet_ms = max(config.quiet_ms, QUIET_WINDOWS * resolution_ms)
        self._open: list[_Open] = []
        self._changes: list[Change] = []
        self._candidates: list[_Candidate] = []
        if resume:
            self._open = [_Open(incident_of(one["incident"]), one["last_ms"]) for one in resume["open"]]
            self._changes = [Change(**one) for one in resume["changes"]]
            self._candidates = [value(one, _Candidate) for one in resume["candidates"]]

    def on_window(
        self, end_ms: int, anomalies: Sequence[Anomaly], scored: int, topology: Topology, changes: Sequence[Change]
    ) -> list[Incident]:
        """Take one closed window; return the incidents it opened, continued or resolved, by id, not yet ranked.

        `scored` is how many series were scored in the window. An incident that only continues comes back with the same
        number of transitions; the caller decides whether what it says has changed enough for a new revision.
        """
        self._remember(changes, end_ms)
        patience_ms = self._config.confirm_windows * self._resolution_ms
        self._candidates = [one for one in self._candidates if end_ms - one.end_ms <= patience_ms]
        # who has been quiet for long enough is done before anything new is placed: after a gap, an outage is a new one
        resolved = [self._resolve(one, end_ms) for one in self._open if end_ms - one.last_ms >= self._quiet_ms]
        self._open = [one for one in self._open if one.incident.phase is Phase.OPEN]
        touched: dict[str, _Open] = {}
        for group in self._groups(anomalies, scored, topology):
            opened = self._place(group, end_ms, topology)
            if opened is not None:
                touched[opened.incident.id] = opened
        done = {one.incident.id: one.incident for one in resolved}
        return [incident for _, incident in sorted({**{k: v.incident for k, v in touched.items()}, **done}.items())]

    def commit(self, incident: Incident) -> None:
        """Take back an incident as it was ranked and revised, so that the next window builds on it."""
        for one in self._open:
            if one.incident.id == incident.id:
                one.incident = incident

    def snapshot(self) -> State:
        """Return all state."""
        return {
            "version": 1,
            "open": [{"incident": plain(one.incident), "last_ms": one.last_ms} for one in self._open],
            "changes": [plain(one) for one in self._changes],
            "candidates": [plain(one) for one in self._candidates],
        }

    def _remember(self, changes: Sequence[Change], end_ms: int) -> None:
        oldest = min([end_ms, *(one.incident.opened_ms for one in self._open)]) - self._config.change_lookback_ms
        known = {one.id: one for one in (*self._changes, *changes) if one.ts_ms >= oldest}
        self._changes = sorted(known.values(), key=lambda one: (one.ts_ms, one.id))

    def _groups(self, anomalies: Sequence[Anomaly], scored: int, topology: Topology) -> list[Group]:
        by_entity: dict[str, list[Anomaly]] = {}
        for anomaly in anomalies:
            by_entity.setdefault(anomaly.entity, []).append(anomaly)
        groups: list[Group] = []
        left = sorted(by_entity)
        while left:
            members, frontier = {left[0]}, {left[0]}
            while frontier:
                near = topology.within(frontier, self._config.hops)
                frontier = {entity for entity in left if entity in near} - members
                members |= frontier
            left = [entity for entity in left if entity not in members]
            together = [anomaly for entity in sorted(members) for anomaly in by_entity[entity]]
            groups.append(Group(tuple(together), tuple(sorted(members)), simes([a.tail_p for a in together], scored)))
        return groups

    def _place(self, group: Group, end_ms: int, topology: Topology) -> _Open | None:
        for one in self._open:
            near = topology.within(one.incident.entities, self._config.hops)
            if not near.isdisjoint(group.entities):
                return self._join(one, group, end_ms) if group.tail_p <= self._config.continue_tail_p else None
        # what opens an incident must at least be able to continue it, however generous the budget of a window is
        budget_p = min(self._config.alarm_budget_per_day * self._resolution_ms / DAY_MS, self._config.continue_tail_p)
        return self._consider(group, end_ms, budget_p, topology) if group.tail_p <= budget_p else None

    def _consider(self, group: Group, end_ms: int, budget_p: float, topology: Topology) -> _Open | None:
        """Open an incident at once when users notice, else when the group shows for the second time."""
        near = topology.within(group.entities, self._config.hops)
        before = [one for one in self._candidates if not near.isdisjoint(one.entities)]
        at_once = self._config.confirm_windows == 0 or severity_of(group.anomalies) is Severity.CRITICAL
        if not before and not at_once:
            self._candidates.append(_Candidate(end_ms, group.entities, group.anomalies))
            return None
        self._candidates = [one for one in self._candidates if one not in before]
        why = f"seen in {len(before) + 1} windows" if before else "in one window, and users notice it"
        return self._open_new(group, before, end_ms, budget_p, why)

    def _open_new(self, group: Group, before: Sequence[_Candidate], end_ms: int, budget_p: float, why: str) -> _Open:
        first_ms = min([end_ms, *(one.end_ms for one in before)]) - self._resolution_ms
        entities = tuple(sorted({*group.entities, *(entity for one in before for entity in one.entities)}))
        anomalies = self._merged((), [anomaly for one in before for anomaly in one.anomalies])
        worst = min(group.anomalies, key=lambda one: (one.tail_p, one.entity, one.indicator))
        reason = (
            f"{len(group.anomalies)} anomalous series of {_entities(len(group.entities))}, {why}; by chance "
            f"p = {group.tail_p:.1e}, the alarm budget allows {budget_p:.1e} a window"
        )
        incident = Incident(
            id=content_id("inc", self._scope, self._resolution_ms, first_ms, entities),
            revision=0,
            scope=self._scope,
            phase=Phase.OPEN,
            severity=severity_of(group.anomalies),
            title=f"{worst.indicator} of {worst.entity}",
            opened_ms=end_ms,
            updated_ms=end_ms,
            resolved_ms=None,
            entities=entities,
            anomalies=self._merged(anomalies, group.anomalies),
            changes=self._changes_near(first_ms),
            transitions=(Transition(end_ms, "opened", reason),),
            ranking=Ranking((), "not ranked yet"),
        )
        opened = _Open(incident, end_ms)
        self._open.append(opened)
        return opened

    def _join(self, one: _Open, group: Group, end_ms: int) -> _Open:
        incident = one.incident
        new = [entity for entity in group.entities if entity not in incident.entities]
        transitions = incident.transitions
        if new:
            reason = (
                f"{', '.join(new)}: anomalous within {self._config.hops} hops of the incident, p = {group.tail_p:.1e}"
            )
            transitions = (*transitions, Transition(end_ms, "joined", reason))
        one.last_ms = end_ms
        one.incident = replace(
            incident,
            severity=max((incident.severity, severity_of(group.anomalies)), key=list(Severity).index),
            updated_ms=end_ms,
            entities=tuple(sorted({*incident.entities, *new})),
            anomalies=self._merged(incident.anomalies, group.anomalies),
            changes=self._changes_near(min(one.start_ms for one in incident.anomalies)),
            transitions=transitions,
        )
        return one

    def _resolve(self, one: _Open, end_ms: int) -> _Open:
        reason = f"no continuing anomaly for {(end_ms - one.last_ms) // 1000} s"
        step = Transition(end_ms, "resolved", reason)
        one.incident = replace(
            one.incident,
            phase=Phase.RESOLVED,
            updated_ms=end_ms,
            resolved_ms=end_ms,
            transitions=(*one.incident.transitions, step),
        )
        return one

    def _changes_near(self, start_ms: int) -> tuple[Change, ...]:
        return tuple(one for one in self._changes if one.ts_ms >= start_ms - self._config.change_lookback_ms)

    def _merged(self, known: Sequence[Anomaly], new: Sequence[Anomaly]) -> tuple[Anomaly, ...]:
        merged = {(one.entity, one.indicator): one for one in known}
        for one in new:
            first = merged.get((one.entity, one.indicator))
            merged[one.entity, one.indicator] = one if first is None else _extended(first, one)
        strangest = sorted(merged.values(), key=lambda one: (one.tail_p, one.start_ms, one.entity, one.indicator))
        kept = strangest[: self._config.max_anomalies]
        return tuple(sorted(kept, key=lambda one: (one.start_ms, one.entity, one.indicator)))


def _entities(count: int) -> str:
    return f"{count} entities" if count != 1 else "one entity"


def _extended(first: Anomaly, later: Anomaly) -> Anomaly:
    """Return one anomaly from the first's beginning to the later's end, described by the stranger of the two."""
    stranger = first if first.tail_p <= later.tail_p else later
    return replace(stranger, id=first.id, start_ms=first.start_ms, end_ms=later.end_ms)


def simes(tail_ps: Sequence[float], tests: int) -> float:
    """Return the Simes bound for a group of tail probabilities among `tests` scored series, at most 1.

    >>> simes([1e-6, 1e-6], 1000)
    0.0005
    """
    ordered = sorted(tail_ps)
    return min(1.0, min((max(tests, len(ordered)) * p / rank for rank, p in enumerate(ordered, 1)), default=1.0))


def severity_of(anomalies: Sequence[Anomaly]) -> Severity:
    """Return the worst severity among `anomalies`."""
    return max((one.severity for one in anomalies), key=list(Severity).index)


def incident_of(data: dict[str, Any]) -> Incident:
    """Return the incident that `engine.values.plain` made plain."""
    return value(data, Incident)
