"""From a revision of an incident to deliveries, and from the outbox to the receivers.

Order, for a crash at any point to lose nothing:
1. compose and enqueue (durable before the pipeline goes on)
2. send what is due
3. note the outcome (a crash between 2 and 3 sends the same id again)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engine.errors import Permanent, Retryable
from engine.types import Fix, Incident
from opsbrain.notify.delivery import Notifier
from opsbrain.notify.outbox import Entry, Outbox


class Dispatcher:
    """Tells every notifier of every incident, through one outbox."""

    def __init__(self, outbox: Outbox, notifiers: Sequence[Notifier]) -> None:
        self._outbox = outbox
        self._notifiers = {one.name: one for one in notifiers}

    def notify(self, incident: Incident, fixes: Sequence[Fix], now_ms: int) -> int:
        """Enqueue what this revision means for each receiver; return how many deliveries are new."""
        new = 0
        for notifier in self._notifiers.values():
            last = self._outbox.newest(notifier.name, incident.id)
            delivery = notifier.compose(incident, fixes, last.delivery.body if last else None)
            new += delivery is not None and self._outbox.enqueue(delivery, now_ms)
        return new

    def refresh(self, now_ms: int) -> int:
        """Enqueue again what receivers want to hear again while it lasts; return how many deliveries are new."""
        new = 0
        for notifier in self._notifiers.values():
            if notifier.refresh_ms:
                for entry in self._outbox.unresolved(notifier.name):
                    new += self._again(entry, notifier.refresh_ms, now_ms)
        return new

    def run_due(self, now_ms: int) -> list[Entry]:
        """Send what is due; return how each attempted delivery stands after it.

        A receiver that fails once is left alone for the rest of the round, so that a dead one holds up nobody.
        """
        attempted: list[Entry] = []
        willing = set(self._notifiers)
        while due := self._outbox.due(now_ms, willing):
            for entry in due:
                if entry.delivery.notifier in willing:
                    attempted.append(self._attempt(entry, now_ms))
                    if attempted[-1].state == "pending":
                        willing.discard(entry.delivery.notifier)
        return attempted

    def _attempt(self, entry: Entry, now_ms: int) -> Entry:
        delivery = entry.delivery
        try:
            answer = self._notifiers[delivery.notifier].send(delivery, now_ms)
        except Retryable as error:
            self._outbox.postponed(delivery, now_ms, error)
        except Permanent as error:
            self._outbox.refused(delivery, now_ms, error)
        else:
            self._outbox.delivered(delivery, now_ms, answer)
        return self._outbox.find(delivery)

    def _again(self, entry: Entry, every_ms: int, now_ms: int) -> int:
        if entry.state == "pending" or now_ms - entry.enqueued_ms < every_ms:
            return 0
        first, _, repeat = entry.delivery.id.partition("+")
        return self._outbox.enqueue(replace(entry.delivery, id=f"{first}+{int(repeat or 0) + 1}"), now_ms)
