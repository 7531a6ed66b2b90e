"""What becomes of conclusions while `opsbrain up` runs: into the store, into the outbox, and out to the receivers.

Everything here is by identity, so that what a crash makes us say again changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from engine.notice import Notice, notice_among
from engine.types import DeadLetter, Incident, Phase
from opsbrain.collect import Collected
from opsbrain.dead_reasons import DeadReasons
from opsbrain.notify.delivery import Notifier
from opsbrain.notify.dispatch import Dispatcher
from opsbrain.notify.outbox import Outbox
from opsbrain.output import printable
from opsbrain.report.words import plural
from opsbrain.store import Store

LOG_EVERY_MS: Final = 60_000

_log = logging.getLogger(__name__)


class DeadLetterLog:
    """Says in the log that dead letters come in: at most one line each LOG_EVERY_MS, with what came since the last.

    It has the rows of each input, and the most frequent reason of all.
    """

    def __init__(self) -> None:
        self._reasons = DeadReasons()
        self._said_ms: int | None = None

    def take(self, letters: Iterable[DeadLetter], now_ms: int) -> None:
        """Count `letters`, and say so if it is time."""
        self._reasons.take(letters)
        if not self._reasons or (self._said_ms is not None and now_ms - self._said_ms < LOG_EVERY_MS):
            return
        rows = self._reasons.rows()
        counts = ", ".join(f"{name} {plural(count, 'row')}" for name, count in rows.items())
        most = [(-n, name, reason) for name in rows for reason, n in self._reasons.most_frequent(name).items()]
        count, name, reason = min(most)
        _log.warning("dead letters: %s; most often: %s of %s: %s", counts, f"{-count:,}", name, printable(reason))
        self._reasons.clear()
        self._said_ms = now_ms


class Conclusions:
    """Takes what was collected. Order: 1 the store, 2 the outbox. Belongs to the thread that made it.

    While `past` says that hours before the start are being worked off, nobody is told: what is over by then is history.
    Afterwards people hear of what is still open. `count` is told how many revisions came.
    """

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        notifiers: Sequence[Notifier],
        wake: Callable[[], None],
        past: Callable[[int], bool] | None = None,
        count: Callable[[int], None] = lambda revisions: None,
    ) -> None:
        self._count = count
        self._past = past or (lambda now_ms: False)
        self._held_back = past is not None  # also when the process before us was stopped in between
        self._store = store
        self._dispatcher = Dispatcher(outbox, notifiers)
        self._wake = wake
        self._dead = DeadLetterLog()

    def __call__(self, collected: Collected, now_ms: int) -> None:
        """Make everything durable and forget it; wake who delivers when there is something to deliver."""
        incidents = sorted(collected.incidents.values(), key=lambda one: (one.updated_ms, one.id, one.revision))
        self._count(len(incidents))
        self._dead.take(collected.dead_letters.values(), now_ms)
        collected.drain_into(self._store)  # 1
        if self._past(now_ms):
            self._held_back = True
            return
        if self._held_back:
            still_open = [one for one in self._store.incidents() if one.phase != Phase.RESOLVED]
            told = {one.id for one in still_open}
            incidents = [*still_open, *(one for one in incidents if one.id not in told)]
            self._held_back = False
        for one in incidents:
            self._dispatcher.notify(one, self._notice(one), now_ms)  # 2
        if incidents:
            self._wake()

    def _notice(self, incident: Incident) -> Notice:
        revisions, fixes = self._store.revisions_of(incident.id)
        return notice_among(incident, revisions, fixes)
