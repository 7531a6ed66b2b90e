"""Tells the configured receivers what a finished run concluded: every revision of every incident, in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.types import Fix, Incident
from opsbrain.notify.dispatch import Dispatcher
from opsbrain.notify.outbox import Entry


def announce(dispatcher: Dispatcher, incidents: Iterable[Incident], fixes: Sequence[Fix], now_ms: int) -> list[Entry]:
    """Enqueue and send a notification for each revision; return how each attempted delivery stands."""
    for incident in sorted(incidents, key=lambda one: (one.updated_ms, one.id, one.revision)):
        known = [one for one in fixes if one.incident_id == incident.id and one.revision <= incident.revision]
        dispatcher.notify(incident, known, now_ms)
    return dispatcher.run_due(now_ms)
