"""When telemetry is left in the broker for a while: memory runs out, or the steps are behind the decoder.

The decoder asks before every read. Nothing else is ever held: what was read is worked off, which is what makes room.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from engine.runners.kafka.bounds import Bounds, bounds_of
from engine.runners.meters import MEMORY_LIMIT, PAUSED, Meters

log = logging.getLogger(__name__)

HIGH: Final = 0.8
LOW: Final = 0.7
MOST_BEHIND: Final = 20_000  # messages of partials that wait on this worker; a second or a few of work
MOST_BEHIND_ELSEWHERE: Final = 200_000  # on others we see only what they committed
_LOOK_S: Final = 0.25
_PATIENCE_S: Final = 5.0  # so long does it take at most to work off what was read
_SIP_S: Final = 1.0
_STATM: Final = Path("/proc/self/statm")

Backlog = Callable[[], tuple[int, int, int]]
"""Messages of partials that wait for this worker's steps, their bytes (about), and the most for another worker's."""


def resident_bytes() -> int:
    """Return how much memory this process takes, or 0 where the system does not tell (then there is no ceiling)."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


class Brake:
    """Says whether to read telemetry now. Asked by one thread."""

    def __init__(
        self,
        limit_bytes: int,
        backlog: Backlog,
        meters: Meters | None = None,
        resident: Callable[[], int] = resident_bytes,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep below `limit_bytes`; what takes memory is `resident`."""
        self._limit = limit_bytes
        self._bounds: Bounds = bounds_of(limit_bytes)
        self._backlog = backlog
        self._resident = resident
        self._seconds = seconds
        self._looked_s = float("-inf")
        self._full_since_s: float | None = None
        self._sipped_s = float("-inf")
        self._behind = False
        self._meters = meters or Meters()
        self._meters.set(MEMORY_LIMIT, limit_bytes)
        self._meters.set(PAUSED, 0)

    def holds(self) -> bool:
        """Return whether to leave telemetry where it is for now.

        Memory that does not come back although everything read is worked off is state, not queues: then a little is
        read every second, because windows close and let go of their rows only when rows come. Above the ceiling itself
        nothing is read.
        """
        now_s = self._seconds()
        if now_s - self._looked_s >= _LOOK_S:
            self._looked_s = now_s
            self._look(now_s)
        return self._behind or (self._full_since_s is not None and not self._sips(now_s))

    def _look(self, now_s: float) -> None:
        used = self._resident()
        if self._full_since_s is None and used >= HIGH * self._limit:
            self._full_since_s = now_s
            log.warning("memory: %s; reading pauses until what was read is worked off", self._of_limit(used))
        elif self._full_since_s is not None and used <= LOW * self._limit:
            self._full_since_s = None
            log.warning("memory: %s; reading goes on", self._of_limit(used))
        share = 0.5 if self._behind else 1.0  # let it come down a good way before more is read
        messages, bytes_, elsewhere = self._backlog()
        self._behind = (
            messages > share * MOST_BEHIND
            or bytes_ > share * self._bounds.backlog_bytes
            or elsewhere > share * MOST_BEHIND_ELSEWHERE
        )
        self._meters.set(PAUSED, float(self._behind or self._full_since_s is not None))

    def _sips(self, now_s: float) -> bool:
        """Return whether to read a little although memory is short."""
        if self._full_since_s is None or now_s - self._full_since_s < _PATIENCE_S:
            return False
        if now_s - self._sipped_s < _SIP_S or self._backlog()[0] or self._resident() >= self._limit:
            return False
        self._sipped_s = now_s
        return True

    def _of_limit(self, used: int) -> str:
        return f"{used / 2**20:.0f} of {self._limit / 2**20:.0f} MB (worker.memory_limit_mb) are in use"
