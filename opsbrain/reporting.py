"""Writes the incident page of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from engine.errors import SourceError
from opsbrain.export import newest
from opsbrain.replaying import Conclusions
from opsbrain.report.history import pick, wanted
from opsbrain.report.page import render_report
from opsbrain.report.view import ALL_AS_EXPECTED, ReportView, Told
from opsbrain.report.words import moment


def write_report(path: Path, concluded: Conclusions, *, title: str, told: Sequence[Told] = ()) -> None:
    """Write the page of a run to `path`; raise SourceError when that fails."""
    page = render_report(view_of(concluded, title=title, told=told))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SourceError(f"{path}: cannot write the report: {error.strerror}") from error


def view_of(concluded: Conclusions, *, title: str, told: Sequence[Told] = ()) -> ReportView:
    """Return what the page of a run shows."""
    incidents = concluded.newest_incidents()
    history = concluded.history
    plotted = _plotted(history)
    from_ms, until_ms = _covered(concluded, plotted)
    return ReportView(
        title=title,
        subtitle=f"this run resumed an earlier one: plots begin at {moment(plotted[0])} UTC"
        if from_ms < plotted[0]
        else "",
        from_ms=from_ms,
        until_ms=until_ms,
        calm=ALL_AS_EXPECTED if until_ms else ("No incident", "No window was judged."),
        incidents=incidents,
        fixes=newest(concluded.fixes),
        series=pick(history, wanted(incidents)) if history is not None else {},
        notifications=told,
        counts={
            "rows": f"{concluded.accounts.sent:,}",
            "late": concluded.accounts.late,
            "dead letters": concluded.accounts.dead_lettered,
            "anomalies": len(concluded.anomalies),
            "incidents": len(incidents),
        },
    )


def _plotted(history: pl.DataFrame | None) -> tuple[int, int]:
    """Return the time that there are plots of, half-open; (0, 0) for none."""
    if history is None or history.is_empty():
        return 0, 0
    return int(history["start_ms"].to_numpy().min()), int(history["end_ms"].to_numpy().max())


def _covered(concluded: Conclusions, plotted: tuple[int, int]) -> tuple[int, int]:
    """Return the time that the conclusions cover: a run that resumed has concluded more than it has history of."""
    starts = [one.start_ms for one in concluded.anomalies] + [plotted[0]] * (plotted[1] > 0)
    ends = [one.end_ms for one in concluded.anomalies] + [plotted[1]] * (plotted[1] > 0)
    return (min(starts), max(ends)) if starts else (0, 0)
