"""Tells the configured receivers what a finished run concluded: every revision of every incident, in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.notice import notice_among
from engine.types import Fix, Incident
from opsbrain.notify.dispatch import Dispatcher
from opsbrain.notify.outbox import Entry


def announce(dispatcher: Dispatcher, incidents: Iterable[Incident], fixes: Sequence[Fix], now_ms: int) -> list[Entry]:
    """Enqueue and send a notification for each revision; return how each attempted delivery stands."""
    revisions = sorted(incidents, key=lambda one: (one.updated_ms, one.id, one.revision))
    for incident in revisions:
        dispatcher.notify(incident, notice_among(incident, revisions, fixes), now_ms)
    return dispatcher.run_due(now_ms)
