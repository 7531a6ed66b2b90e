"""What becomes of conclusions while `opsbrain up` runs: into the store, into the outbox, and out to the receivers.

Everything here is by identity, so that what a crash makes us say again changes nothing.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from engine.errors import OpsBrainError
from engine.runners.meters import Meters
from engine.types import DeadLetter, Fix, Incident, Phase
from opsbrain.collect import Collected
from opsbrain.dead_reasons import DeadReasons
from opsbrain.notify.delivery import Notifier
from opsbrain.notify.dispatch import Dispatcher
from opsbrain.notify.meters import NotifyMeters
from opsbrain.notify.outbox import FILE_NAME, Outbox
from opsbrain.output import printable
from opsbrain.report.words import plural
from opsbrain.store import Store

ROUND_S: Final = 5.0  # how often retries and repeats are looked for when nothing new came

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
    Afterwards people hear of what is still open.
    """

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        notifiers: Sequence[Notifier],
        wake: Callable[[], None],
        past: Callable[[int], bool] | None = None,
    ) -> None:
        self._past = past or (lambda now_ms: False)
        self._held_back = past is not None  # also when the process before us was stopped in between
        self._store = store
        self._dispatcher = Dispatcher(outbox, notifiers)
        self._wake = wake
        self._dead = DeadLetterLog()

    def __call__(self, collected: Collected, now_ms: int) -> None:
        """Make everything durable and forget it; wake who delivers when there is something to deliver."""
        incidents = sorted(collected.incidents.values(), key=lambda one: (one.updated_ms, one.id, one.revision))
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
        new = sum(self._dispatcher.notify(one, self._fixes_of(one), now_ms) for one in incidents)  # 2
        if new:
            self._wake()

    def _fixes_of(self, incident: Incident) -> list[Fix]:
        return [fix for fix in self._store.fixes(incident.id) if fix.revision <= incident.revision]


class Deliverer:
    """Sends what is due, in a thread of its own: a receiver that is slow or dead holds up nobody."""

    def __init__(
        self,
        folder: Path,
        notifiers: Sequence[Notifier],
        give_up_after_ms: int,
        clock: Callable[[], int],
        meters: Meters | None = None,
    ) -> None:
        self._path = folder / FILE_NAME
        self._notifiers = notifiers
        self._give_up_after_ms = give_up_after_ms
        self._clock = clock
        self._meters = NotifyMeters(meters or Meters(), [one.name for one in notifiers])
        self._woken = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="deliverer", daemon=True)

    def start(self) -> None:
        """Begin to deliver, what was left over first."""
        self._thread.start()

    def wake(self) -> None:
        """Say that something new is due."""
        self._woken.set()

    def stop(self, within_s: float) -> None:
        """End after the request on its way; one that takes longer than `within_s` is left, and sent again next time."""
        self._stopping = True
        self._woken.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        outbox = Outbox(self._path, self._give_up_after_ms)
        dispatcher = Dispatcher(outbox, self._notifiers)
        while not self._stopping:
            self._woken.clear()
            self._round(dispatcher)
            self._meters.round(outbox)
            self._woken.wait(ROUND_S)
        outbox.close()

    def _round(self, dispatcher: Dispatcher) -> None:
        now_ms = self._clock()
        try:
            dispatcher.refresh(now_ms)
            for entry in dispatcher.run_due(now_ms):
                self._meters.attempted(entry)
                if entry.state != "delivered":
                    _log.warning("notification %s to %s: %s", entry.state, entry.delivery.notifier, entry.last)
        except (OpsBrainError, sqlite3.Error) as error:  # a full disk, a locked file: the next round may do better
            _log.warning("notifications wait: %s", error)
            self._meters.error("store")
