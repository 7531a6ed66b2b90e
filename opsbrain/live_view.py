"""What the console shows: the newest of everything in a store, and how its notifications went."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from autofix.approval import standing
from opsbrain.notify.outbox import FILE_NAME as OUTBOX_NAME
from opsbrain.notify.outbox import Entry, Outbox
from opsbrain.report.history import wanted
from opsbrain.report.view import Plotted, ReportView, SeriesKey, Told
from opsbrain.store import Store

SHOWN_INCIDENTS: Final = 50

SeriesOf = Callable[[set[SeriesKey]], Mapping[SeriesKey, Plotted]]
"""Returns those of the wanted series that are at hand."""


def store_view(folder: Path, title: str = "live", series: SeriesOf = lambda keys: {}) -> ReportView:
    """Return the view of the store in `folder`; opens what it reads, so any thread may call it.

    Raises SourceError when the store cannot be read.
    """
    with Store(folder) as store:
        incidents = store.incidents()
        fixes = store.fixes()
        standings = {one.id: standing(store.decisions(one.id)).value for one in fixes}
    shown = incidents[:SHOWN_INCIDENTS]
    return ReportView(
        title=title,
        incidents=shown,
        fixes=fixes,
        series=series(wanted(shown)),
        notifications=_told(folder / OUTBOX_NAME),
        standings=standings,
        counts={"incidents": len(incidents), "open": sum(one.resolved_ms is None for one in incidents)},
    )


def told(entry: Entry, signature: str = "") -> Told:
    """Return a delivery as the page shows it."""
    delivery = entry.delivery
    return Told(delivery.notifier, delivery.subject, delivery.kind, entry.state, entry.attempts, entry.last, signature)


def _told(path: Path) -> list[Told]:
    if not path.exists():
        return []
    outbox = Outbox(path)
    try:
        return [told(entry) for entry in outbox.entries()]
    finally:
        outbox.close()
