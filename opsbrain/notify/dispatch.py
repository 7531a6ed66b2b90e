"""From a revision of an incident to deliveries, and from the outbox to the receivers.

Order, for a crash at any point to lose nothing:
1. compose and enqueue (what was not enqueued is read again: the pipeline says it again, or the topic still holds it)
2. send what is due
3. note the outcome (a crash between 2 and 3 sends the same id again)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from engine.errors import Permanent, Retryable
from engine.notice import Notice
from engine.types import Incident
from opsbrain.notify.delivery import Delivery, Notifier
from opsbrain.notify.marks import STALE_AFTER_S, marks
from opsbrain.notify.outbox import Entry, Outbox


class Dispatcher:
    """Tells every notifier of every incident, through one outbox."""

    def __init__(
        self, outbox: Outbox, notifiers: Sequence[Notifier], stale_after_ms: int = STALE_AFTER_S * 1000
    ) -> None:
        """`stale_after_ms` is how far behind the clock event time may lie before a notification is marked as stale."""
        self._outbox = outbox
        self._notifiers = {one.name: one for one in notifiers}
        self._stale_after_ms = stale_after_ms
        self._unnoted: list[Callable[[], None]] = []

    def notify(
        self, incident: Incident, notice: Notice, now_ms: int, wanted: Callable[[str], bool] = lambda name: True
    ) -> list[Delivery]:
        """Enqueue what this revision means for each receiver that is `wanted`; return all of those."""
        composed = [one.compose(incident, notice) for name, one in self._notifiers.items() if wanted(name)]
        deliveries = [one for one in composed if one is not None]
        for one in deliveries:
            self._outbox.enqueue(one, now_ms)
        return deliveries

    def refresh(self, now_ms: int) -> int:
        """Enqueue again what receivers want to hear again while it lasts; return how many deliveries are new."""
        new = 0
        for notifier in self._notifiers.values():
            if notifier.refresh_ms:
                for entry in self._outbox.unresolved(notifier.name):
                    new += self._again(entry, notifier.refresh_ms, now_ms)
        return new

    def run_due(self, now_ms: int, go_on: Callable[[], bool] = lambda: True) -> list[Entry]:
        """Send what is due while `go_on` says so; return how each attempted delivery stands after it.

        A receiver that fails once is left alone for the rest of the round, so that a dead one holds up nobody. What was
        sent and could not be noted (a full disk) is noted before anything else is sent: it must not go out every round.
        """
        self._note()
        attempted: list[Entry] = []
        willing = set(self._notifiers)
        while due := self._outbox.due(now_ms, willing):
            for entry in due:
                if not go_on():
                    return attempted
                if entry.delivery.notifier in willing and (now := self._attempt(entry.delivery, now_ms)) is not None:
                    attempted.append(now)
                    if now.state == "pending":
                        willing.discard(entry.delivery.notifier)
        return attempted

    def _attempt(self, delivery: Delivery, now_ms: int) -> Entry | None:
        told = marks(delivery, now_ms, self._stale_after_ms)
        try:
            answer = self._notifiers[delivery.notifier].send(delivery, told, now_ms)
        except Retryable as error:
            self._unnoted.append(partial(self._outbox.postponed, delivery, now_ms, error))
        except Permanent as error:
            self._unnoted.append(partial(self._outbox.refused, delivery, now_ms, error))
        else:
            self._unnoted.append(partial(self._outbox.delivered, delivery, now_ms, answer))
        self._note()
        return self._outbox.find(delivery)

    def _note(self) -> None:
        while self._unnoted:
            self._unnoted[0]()
            del self._unnoted[0]

    def _again(self, entry: Entry, every_ms: int, now_ms: int) -> int:
        if entry.state == "pending" or now_ms - entry.enqueued_ms < every_ms:
            return 0
        return self._outbox.enqueue(entry.delivery.again(), now_ms)
