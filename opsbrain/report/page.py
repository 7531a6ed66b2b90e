"""Renders the page: the cause first, then why, then what to do, then everything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import jinja2

from engine.types import Anomaly, Cause, Change, Evidence, Fix, Incident, Outcome, Phase, Severity
from opsbrain.report import words
from opsbrain.report.actions import Script, script
from opsbrain.report.overview import overview, span
from opsbrain.report.plot import Mark, Plot, draw
from opsbrain.report.view import ReportView, Told
from opsbrain.sources import reasons

MAX_PLOTS: Final = 8
MAX_SYMPTOMS: Final = 4
MAX_MOMENTS: Final = 40
_BEFORE_MS, _AFTER_MS = 2_400_000, 900_000  # how much of a series is shown around the opening of an incident
_RANK = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}


@dataclass(frozen=True, slots=True)
class EvidenceShown:
    """One line of evidence and the plot of its series, if we have it."""

    evidence: Evidence
    plot: Plot | None


@dataclass(frozen=True, slots=True)
class CauseShown:
    """One candidate with its evidence."""

    cause: Cause
    lines: tuple[EvidenceShown, ...]


@dataclass(frozen=True, slots=True)
class SymptomShown:
    """One anomaly and the plot of its series, if we have it."""

    anomaly: Anomaly
    plot: Plot | None


@dataclass(frozen=True, slots=True)
class Moment:
    """One entry of an incident's own timeline; `kind` is also its CSS class."""

    at_ms: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class FixShown:
    """One fix with its actions and undo."""

    fix: Fix
    standing: str
    decided_by: str
    actions: Script
    undo: Script


@dataclass(frozen=True, slots=True)
class IncidentShown:
    """One incident, laid out."""

    incident: Incident
    causes: tuple[CauseShown, ...]
    symptoms: tuple[SymptomShown, ...]
    moments: tuple[Moment, ...]
    fixes: tuple[FixShown, ...]
    told: tuple[Told, ...]


def render_report(view: ReportView) -> str:
    """Return the page as one HTML document without scripts or outside requests; the same view gives the same bytes."""
    ordered = sorted(view.incidents, key=_urgency)
    return _template().render(
        view=view,
        incidents=[_incident(view, one) for one in ordered],
        overview=overview(view),
        never_below={key for key, one in view.series.items() if not (one.value < 0).any()},
        critical=sum(one.severity is Severity.CRITICAL for one in ordered),
        still_open=sum(one.phase is Phase.OPEN for one in ordered),
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("opsbrain.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = (
        "clock",
        "day",
        "duration",
        "lead",
        "number",
        "amount",
        "short",
        "home",
        "direction",
        "plural",
        "checks",
        "expected",
    )
    environment.filters["reasons"] = reasons
    environment.filters |= {name: getattr(words, name) for name in names}
    return environment.get_template("page.html.j2")


def _urgency(incident: Incident) -> tuple[bool, int, int, str]:
    """Order: open before resolved, worse before better, newer before older."""
    return (incident.phase is Phase.RESOLVED, _RANK[incident.severity], -incident.opened_ms, incident.id)


def _incident(view: ReportView, incident: Incident) -> IncidentShown:
    marks = _marks(incident)
    fixes = [one for one in view.fixes if one.incident_id == incident.id]
    return IncidentShown(
        incident=incident,
        causes=tuple(_cause(view, incident, cause, marks) for cause in incident.ranking.causes),
        symptoms=tuple(_symptoms(view, incident, marks)),
        moments=tuple(_moments(incident, fixes)),
        fixes=tuple(_fix(view, incident, one) for one in sorted(fixes, key=lambda one: _promise(one, incident))),
        told=tuple(one for one in view.notifications if one.incident_id == incident.id),
    )


def _what_changed(change: Change) -> str:
    name = words.short(change.entity)
    return change.summary if change.summary.startswith(name) else f"{name}: {change.summary}"


def _promise(fix: Fix, incident: Incident) -> tuple[bool, bool, int, int, str]:
    """Order fixes: valid before expired, then not failed, for likelier causes, and by checks passed."""
    causes = [one.entity for one in incident.ranking.causes]
    place = causes.index(fix.entity) if fix.entity in causes else len(causes)
    passed = sum(one.outcome is Outcome.PASSED for one in fix.verdicts)
    return (_expired(fix, incident), fix.outcome is Outcome.FAILED, place, -passed, fix.id)


def _expired(fix: Fix, incident: Incident) -> bool:
    return fix.expires_ms <= incident.updated_ms


def _cause(view: ReportView, incident: Incident, cause: Cause, marks: Sequence[Mark]) -> CauseShown:
    lines = []
    for place, one in enumerate(cause.evidence):
        plot = _plot(view, incident, (one.entity, one.indicator), marks) if place < MAX_PLOTS else None
        lines.append(EvidenceShown(one, plot))
    return CauseShown(cause, tuple(lines))


def _symptoms(view: ReportView, incident: Incident, marks: Sequence[Mark]) -> list[SymptomShown]:
    """Return the strangest series of each entity that the evidence of the first cause does not show already."""
    shown = {(one.entity, one.indicator) for cause in incident.ranking.causes[:1] for one in cause.evidence}
    strangest: dict[str, Anomaly] = {}
    for one in sorted(incident.anomalies, key=lambda one: (one.tail_p, one.start_ms, one.entity, one.indicator)):
        if (one.entity, one.indicator) not in shown:
            strangest.setdefault(one.entity, one)
    chosen = list(strangest.values())[:MAX_SYMPTOMS]
    return [SymptomShown(one, _plot(view, incident, (one.entity, one.indicator), marks)) for one in chosen]


def _plot(view: ReportView, incident: Incident, key: tuple[str, str], marks: Sequence[Mark]) -> Plot | None:
    series = view.series.get(key)
    if series is None:
        return None
    begin, end = span(view)
    from_ms = max(begin, incident.opened_ms - _BEFORE_MS)
    until_ms = min(max(end, from_ms + 1), (incident.resolved_ms or incident.updated_ms) + _AFTER_MS)
    entity, indicator = key
    return draw(series, marks, from_ms, until_ms, f"{indicator} of {words.short(entity)}")


def _marks(incident: Incident) -> list[Mark]:
    marks = [Mark(one.ts_ms, "change", one.kind) for one in incident.changes[-3:]]
    marks.append(Mark(incident.opened_ms, "opened", "opened"))
    if incident.resolved_ms is not None:
        marks.append(Mark(incident.resolved_ms, "resolved", "resolved"))
    return marks


def _moments(incident: Incident, fixes: Sequence[Fix]) -> list[Moment]:
    moments = [Moment(one.at_ms, one.what, one.reason) for one in incident.transitions]
    moments += [Moment(one.ts_ms, "change", _what_changed(one)) for one in incident.changes]
    if incident.anomalies:
        first = min(incident.anomalies, key=lambda one: (one.start_ms, one.tail_p, one.entity, one.indicator))
        moments.append(Moment(first.start_ms, "sign", f"first sign: {first.indicator} of {words.short(first.entity)}"))
    return sorted(moments, key=lambda one: (one.at_ms, one.kind, one.text))[-MAX_MOMENTS:]


def _fix(view: ReportView, incident: Incident, fix: Fix) -> FixShown:
    standing = view.standings.get(fix.id, "proposed")
    if standing == "proposed" and _expired(fix, incident):
        standing = "expired"
    return FixShown(fix, standing, view.decided_by.get(fix.id, ""), script(fix.actions), script(fix.undo))
