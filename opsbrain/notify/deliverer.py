"""Sends what is due, each receiver in a thread of its own: one that is slow or dead holds up nobody."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from engine.errors import OpsBrainError
from opsbrain.notify.delivery import Notifier
from opsbrain.notify.dispatch import Dispatcher
from opsbrain.notify.meters import NOTIFY, NotifyMeters
from opsbrain.notify.outbox import Entry, Outbox
from opsbrain.notify.trouble import Trouble

ROUND_S: Final = 5.0  # how often repeats are looked for when nothing new came
LONGEST_ROUND_MS: Final = 1_000
FORGET_EVERY_S: Final = 600.0

_log = logging.getLogger(__name__)


class Deliverer:
    """Delivers from one outbox to all receivers.

    `may_send` is asked before each request; `after_round` is called by each thread when it came round. `keep_ms` is how
    long the outbox remembers what has ended.
    """

    def __init__(
        self,
        outbox: Outbox,
        notifiers: Sequence[Notifier],
        clock: Callable[[], int],
        stale_after_ms: int,
        meters: NotifyMeters,
        keep_ms: int,
        may_send: Callable[[], bool] = lambda: True,
        after_round: Callable[[], None] = lambda: None,
    ) -> None:
        self._couriers = [
            _Courier(outbox, one, clock, stale_after_ms, meters, keep_ms, may_send, after_round) for one in notifiers
        ]

    @property
    def alive(self) -> bool:
        """Return whether every receiver is being looked after (or none was to begin with)."""
        return all(one.thread.is_alive() for one in self._couriers)

    def start(self) -> None:
        """Begin to deliver, what was left over first."""
        for one in self._couriers:
            one.thread.start()

    def wake(self) -> None:
        """Say that something new is due."""
        for one in self._couriers:
            one.woken.set()

    def stop(self, within_s: float) -> None:
        """End after the requests on their way; what takes longer than `within_s` is left, and sent again next time."""
        deadline_s = time.monotonic() + within_s
        for one in self._couriers:
            one.stopping = True
            one.woken.set()
        for one in self._couriers:
            if one.thread.ident is not None:
                one.thread.join(max(0.0, deadline_s - time.monotonic()))


class _Courier:
    """Looks after one receiver."""

    def __init__(
        self,
        outbox: Outbox,
        notifier: Notifier,
        clock: Callable[[], int],
        stale_after_ms: int,
        meters: NotifyMeters,
        keep_ms: int,
        may_send: Callable[[], bool],
        after_round: Callable[[], None],
    ) -> None:
        self._outbox = outbox
        self._name = notifier.name
        self._dispatcher = Dispatcher(outbox, [notifier], stale_after_ms)
        self._clock = clock
        self._meters = meters
        self._keep_ms = keep_ms
        self._may_send = may_send
        self._after_round = after_round
        self._trouble = Trouble(_log, f"notifications to {notifier.name} wait")
        self._forgot_s = time.monotonic()
        self.woken = threading.Event()
        self.stopping = False
        self.thread = threading.Thread(target=self._run, name=f"notify-{notifier.name}", daemon=True)

    def _run(self) -> None:
        while not self.stopping:
            self.woken.clear()
            with self._meters.all.stage(NOTIFY):
                pause_s = self.round(self._clock())
            self._after_round()
            self.woken.wait(pause_s)

    def round(self, now_ms: int) -> float:
        """Send what is due; return for how many seconds there is nothing to do unless something new comes."""
        if self._trouble.waits or not self._may_send():
            return 0.1
        try:
            self._dispatcher.refresh(now_ms)
            attempted = self._dispatcher.run_due(now_ms, lambda: self._go_on(now_ms))
            for entry in attempted:
                self._tell_of(entry)
            self._forget(now_ms)
            next_ms = self._outbox.next_due_ms(self._name)
        except (OpsBrainError, sqlite3.Error, OSError) as error:  # a full disk, a locked file: it may do better later
            if not self.stopping:
                self._trouble.began(error)
                self._meters.error("store")
            return 0.1
        self._trouble.over()
        if next_ms is None or any(one.state == "pending" for one in attempted):
            return ROUND_S  # what waits behind a failure is not tried at once: the receiver is in trouble
        return min(max((next_ms - self._clock()) / 1000, 0.0), ROUND_S)

    def _go_on(self, since_ms: int) -> bool:
        """Return whether to send more in this round: its time is what the next signature would bear."""
        return not self.stopping and self._may_send() and self._clock() - since_ms < LONGEST_ROUND_MS

    def _tell_of(self, entry: Entry) -> None:
        self._meters.attempted(entry)
        if entry.state != "delivered":
            _log.warning("notification %s to %s: %s", entry.state, entry.delivery.notifier, entry.last)

    def _forget(self, now_ms: int) -> None:
        if time.monotonic() - self._forgot_s >= FORGET_EVERY_S:
            self._outbox.forget(now_ms - self._keep_ms)
            self._forgot_s = time.monotonic()
