"""Writes the incident page of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.errors import SourceError
from opsbrain.export import newest
from opsbrain.replaying import Conclusions
from opsbrain.report.history import pick, wanted
from opsbrain.report.page import render_report
from opsbrain.report.view import ReportView, Told


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
    known = history is not None and not history.is_empty()
    return ReportView(
        title=title,
        from_ms=int(history["start_ms"].to_numpy().min()) if history is not None and known else 0,
        until_ms=int(history["end_ms"].to_numpy().max()) if history is not None and known else 0,
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
