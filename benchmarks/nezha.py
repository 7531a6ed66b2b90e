"""`opsbrain bench nezha`: does an incident open, and does it name the service into which the fault was injected?

Two protocols: `nezha_window` is given the moment and ranks, `nezha_stream` replays whole days through the product.
Train Ticket (tt) and Online Boutique (ob) are scored apart; of several days of one system all faults count alike.
"""

from __future__ import annotations

import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import nezha_stream, nezha_window
from benchmarks.nezha_data import Day, day_names, find, load_day
from engine.errors import SourceError


def run(data: Path | None = None) -> dict[str, Any]:
    """Return `{"name", "version", "data", "metrics", "cases"}`; a figure that cannot be formed is None.

    Raises SourceError when there is no data set, or no day in it that can be scored.
    """
    root = find(data)
    days: list[Day] = []
    cases: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    for name in day_names(root):
        try:
            day = load_day(root, name)
        except SourceError as error:
            skipped.append({"day": name, "why": str(error)})
            continue
        cases += [*nezha_window.cases_of(day), *nezha_stream.cases_of(day)]
        days.append(day)
    if not days:
        raise SourceError(f"{root}: no day there can be scored: {'; '.join(one['why'] for one in skipped) or 'none'}")
    return {
        "name": "nezha",
        "version": version("opsbrain"),
        "data": {"found": [_about(day) for day in days], "skipped": skipped},
        "metrics": _without_nan(_metrics(days, cases)),
        "cases": cases,
    }


def _metrics(days: list[Day], cases: list[dict[str, Any]]) -> dict[str, Any]:
    window: dict[str, Any] = {}
    stream: dict[str, Any] = {}
    for system in sorted({day.system for day in days}):
        theirs = [one for one in cases if one["system"] == system]
        window[system] = nezha_window.score(theirs)
        stream[system] = nezha_stream.score([day for day in days if day.system == system], theirs)
    return {"window": window, "stream": stream}


def _about(day: Day) -> dict[str, Any]:
    return {
        "day": day.name,
        "system": day.system,
        "services": len(day.services),
        "faults": len(day.faults),
        "hours": round(day.hours, 2),
        "rows": {kind: frame.height for kind, frame in sorted(day.frames.items())},
        "reference_rows": {kind: frame.height for kind, frame in sorted(day.reference.items())},
        "dropped": {partition: dict(reasons) for partition, reasons in sorted(day.dropped.items())},
        "unread": day.unread,
    }


def _without_nan(value: Any) -> Any:
    """Return figures with None for what cannot be formed: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
