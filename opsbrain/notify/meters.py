"""What delivery tells of itself: revisions of incidents that came, notifications that went out, and what still waits.

Received are revisions of incidents, of which each receiver wants some; sent, dropped and errors are deliveries. What a
receiver may take later is an error each time that it does not take it, and stays in the outbox.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

from engine.runners.meters import OUTBOX_PENDING, Meters
from opsbrain.notify.outbox import Entry, Outbox

NOTIFY: Final = "notify"
FAILED: Final = "failed"
RETRY: Final = "retry"
COUNT_EVERY_S: Final = 2.0


class NotifyMeters:
    """Counts deliveries as component `notify`; may be used from several threads."""

    def __init__(self, meters: Meters, receivers: Iterable[str]) -> None:
        self.all = meters
        self._told = meters.component(
            NOTIFY, received=("incidents",), sent=receivers, dropped=(FAILED,), errors=(RETRY, "commit", "store")
        )
        self._counted_s: float | None = None
        self._lock = threading.Lock()

    def received(self, revisions: int) -> None:
        """Count revisions of incidents that came, repeats too."""
        self._told.received["incidents"] += revisions

    def attempted(self, entry: Entry) -> None:
        """Count how an attempt ended; `entry` is how the delivery stands after it."""
        with self._lock:
            if entry.state == "delivered":
                self._told.sent[entry.delivery.notifier] += 1
            elif entry.state == "failed":
                self._told.dropped[FAILED] += 1
            else:
                self._told.errors[RETRY] += 1

    def error(self, kind: str) -> None:
        """Count what went wrong beside that."""
        with self._lock:
            self._told.errors[kind] += 1

    def begin(self, outbox: Outbox) -> None:
        """Say what is left over from before; nobody may ever come round where there is no receiver."""
        self.all.set(OUTBOX_PENDING, outbox.pending())

    def round(self, outbox: Outbox, *, waiting: bool = False) -> None:
        """Say that the loop came round; `waiting` says that something that came is not committed yet."""
        now_s = self.all.seconds()
        self.all.beat(NOTIFY)
        if not waiting:
            self.all.checkpointed(NOTIFY)
        if self._counted_s is None or now_s - self._counted_s >= COUNT_EVERY_S:
            self.all.set(OUTBOX_PENDING, outbox.pending())
            self._counted_s = now_s
