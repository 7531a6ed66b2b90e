"""What every puller promises, and the thread that runs one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, Protocol

from engine.errors import OpsBrainError, Retryable, SourceError
from opsbrain.output import printable

FIRST_BACKOFF_S: Final = 5.0
LONGEST_BACKOFF_S: Final = 600.0

_log = logging.getLogger(__name__)


class Puller(Protocol):
    """Fetches what nobody sends. It remembers on disk what it handed over, so that a restart goes on there.

    Whatever it hands over goes to a `Keep`, and only what that kept is remembered: after a crash some may be handed
    over again, with the same bytes, which is recognised further on.
    """

    @property
    def name(self) -> str:
        """Return what it pulls, as messages name it: the settings' key."""

    @property
    def next_in_s(self) -> float:
        """Return how long to wait after the poll that just ended."""

    def poll(self, now_ms: int) -> None:
        """Do one round; raise an OpsBrainError, of one line and without secrets, when it could not be finished."""

    def close(self) -> None:
        """End a poll that is under way, soon and from another thread; nothing is polled afterwards."""


class PullThread:
    """Runs a puller until it is stopped; a failure is logged as one line, and tried again later and later."""

    def __init__(self, puller: Puller, clock: Callable[[], int]) -> None:
        """Build it; `clock` returns Unix milliseconds."""
        self._puller = puller
        self._clock = clock
        self._stopped = threading.Event()
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name=f"pull {puller.name}", daemon=True)

    @property
    def name(self) -> str:
        """Return the puller's name."""
        return self._puller.name

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def stop(self, grace_s: float = 3.0) -> None:
        """End the poll under way and wait for it, `grace_s` at most; what it did not finish is done again later."""
        self._stopped.set()
        self._puller.close()
        if self._thread.ident is not None:
            self._thread.join(grace_s)

    def check(self) -> None:
        """Raise SourceError when it has stopped by itself, though it was started and nobody stopped it."""
        started = self._thread.ident is not None
        if started and not self._thread.is_alive() and not self._stopped.is_set():
            raise SourceError(f"{self.name} stopped by itself; its log says why")

    def step(self) -> float:
        """Poll once and return how many seconds to wait before the next time."""
        try:
            self._puller.poll(self._clock())
        except Retryable as error:  # nothing is broken: whoever keeps is behind, and says how long
            return self._told(error, error.retry_after_s)
        except OpsBrainError as error:
            self._failures += 1
            return self._told(error, backoff_s(self._failures))
        self._failures = 0
        return self._puller.next_in_s

    def _told(self, error: OpsBrainError, wait_s: float) -> float:
        if not self._stopped.is_set():  # an error may quote what others have written: an answer, an object's key
            _log.warning("%s: %s; tried again in %.0f s", self._puller.name, printable(str(error)), wait_s)
        return wait_s

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._stopped.wait(self.step())


def backoff_s(failures: int) -> float:
    """Return how long to wait after that many failures in a row.

    >>> [backoff_s(n) for n in (1, 2, 3, 20)]
    [5.0, 10.0, 20.0, 600.0]
    """
    return float(min(FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 20), LONGEST_BACKOFF_S))
