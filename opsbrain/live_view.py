"""What the console shows: the newest of everything in a store, and how its notifications went."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from autofix.approval import standing
from opsbrain.notify.outbox import FILE_NAME as OUTBOX_NAME
from opsbrain.notify.outbox import Entry, Outbox
from opsbrain.report.history import wanted
from opsbrain.report.view import Plotted, ReportView, SeriesKey, Told
from opsbrain.report.words import moment, plural
from opsbrain.sources import Source
from opsbrain.store import Store

SHOWN_INCIDENTS: Final = 50

SeriesOf = Callable[[set[SeriesKey]], Mapping[SeriesKey, Plotted]]
"""Returns those of the wanted series that are at hand."""


@dataclass(frozen=True, slots=True)
class Received:
    """What came in so far, and what of it was judged.

    accepted, late, dead_letters
                    rows, as the accounts of a replay have them; what still waits in the journal is not counted
    latest_ms       the newest event time, or -1
    from_ms, until_ms
                    the windows judged since the start that are still in memory; 0, 0 for none
    """

    accepted: int = 0
    late: int = 0
    dead_letters: int = 0
    latest_ms: int = -1
    from_ms: int = 0
    until_ms: int = 0

    @property
    def rows(self) -> int:
        """Return the number of rows that came, an undecodable message being one."""
        return self.accepted + self.late + self.dead_letters


def calm(received: Received) -> tuple[str, str]:
    """Return what the page says while there is no incident: that all is well only when something was judged."""
    if not received.rows:
        return "Nothing was received yet", "POST telemetry to /receive/FORMAT; this page then says what became of it."
    came = f"{plural(received.rows, 'row')} received, {received.late:,} late, {received.dead_letters:,} dead-lettered"
    if received.latest_ms < 0:
        return "Nothing readable was received yet", f"{came}; `opsbrain export` lists the reasons."
    newest = f"newest event {moment(received.latest_ms)} UTC"
    if not received.until_ms:
        why = "A window is judged once every input has passed its end, or has been silent for a while."
        return "No window was judged since the start", f"{came}; {newest}. {why}"
    judged = f"{moment(received.from_ms)} to {moment(received.until_ms)} UTC"
    return "No incident", f"Everything judged stayed within what was expected, last from {judged}."


def store_view(
    folder: Path,
    title: str = "live",
    series: SeriesOf = lambda keys: {},
    received: Received = Received(),
    sources: Sequence[Source] = (),
) -> ReportView:
    """Return the view of the store in `folder`; opens what it reads, so any thread may call it.

    Raises SourceError when the store cannot be read.
    """
    with Store(folder) as store:
        incidents = store.incidents()
        fixes = store.fixes()
        decisions = {one.id: store.decisions(one.id) for one in fixes}
    shown = incidents[:SHOWN_INCIDENTS]
    return ReportView(
        title=title,
        incidents=shown,
        fixes=fixes,
        series=series(wanted(shown)),
        notifications=_told(folder / OUTBOX_NAME),
        standings={fix_id: standing(made).value for fix_id, made in decisions.items()},
        decided_by={fix_id: made[-1].who for fix_id, made in decisions.items() if made},
        counts=_counts(received)
        | {"incidents": len(incidents), "open": sum(one.resolved_ms is None for one in incidents)},
        from_ms=received.from_ms,
        until_ms=received.until_ms,
        calm=calm(received),
        origin="live telemetry",
        sources=[one for one in sources if one.received],
    )


def _counts(received: Received) -> dict[str, int | str]:
    return {
        "rows": received.rows,
        "late": received.late,
        "dead letters": received.dead_letters,
        "newest event": moment(received.latest_ms) if received.latest_ms >= 0 else "none",
    }


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
