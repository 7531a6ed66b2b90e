"""The whole run on one line: when incidents were open, and when something was changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engine.types import Change, Incident
from opsbrain.report.view import ReportView
from opsbrain.report.words import clock, day

LANES: Final = 6


@dataclass(frozen=True, slots=True)
class Bar:
    """One incident on the line: place and width in percent, and the lane it does not share."""

    incident: Incident
    left: float
    width: float
    lane: int


@dataclass(frozen=True, slots=True)
class Overview:
    """The line: bars, marks of changes (percent from the left), labels; without labels when no time is known."""

    bars: tuple[Bar, ...]
    changes: tuple[tuple[float, Change], ...]
    lanes: int
    ticks: tuple[str, ...]
    days: str


def span(view: ReportView) -> tuple[int, int]:
    """Return the time that the page covers, half-open: what the view says, and every incident; (0, 1) for none."""
    times = [view.from_ms, view.until_ms - 1] if view.until_ms > view.from_ms else []
    times += [time for one in view.incidents for time in (one.opened_ms, one.updated_ms, one.resolved_ms or 0) if time]
    if view.until_ms <= view.from_ms:
        times += [change.ts_ms for one in view.incidents for change in one.changes]
    return (min(times), max(times) + 1) if times else (0, 1)


def overview(view: ReportView) -> Overview:
    """Lay out the line; incidents that overlap go to different lanes, as far as there are some."""
    begin, end = span(view)
    if end <= 1:
        return Overview((), (), 1, (), "")
    bars: list[Bar] = []
    free_from = [begin] * LANES
    for incident in sorted(view.incidents, key=lambda one: (one.opened_ms, one.id)):
        until = incident.resolved_ms or end
        lane = next((n for n, free in enumerate(free_from) if free <= incident.opened_ms), LANES - 1)
        free_from[lane] = max(free_from[lane], until)
        left = _percent(incident.opened_ms, begin, end)
        bars.append(Bar(incident, left, max(_percent(until, begin, end) - left, 0.4), lane))
    return Overview(
        bars=tuple(bars),
        changes=tuple(_changes(view.incidents, begin, end)),
        lanes=1 + max((bar.lane for bar in bars), default=0),
        ticks=tuple(clock(begin + (end - begin) * part // 4) for part in range(5)),
        days=day(begin) if day(begin) == day(end - 1) else f"{day(begin)} to {day(end - 1)}",
    )


def _changes(incidents: Sequence[Incident], begin: int, end: int) -> list[tuple[float, Change]]:
    known = {change.id: change for incident in incidents for change in incident.changes}
    inside = [one for one in known.values() if begin <= one.ts_ms < end]
    return [(_percent(one.ts_ms, begin, end), one) for one in sorted(inside, key=lambda one: (one.ts_ms, one.id))]


def _percent(at_ms: int, begin: int, end: int) -> float:
    return round(min(max((at_ms - begin) / max(end - begin, 1), 0.0), 1.0) * 100, 3)
