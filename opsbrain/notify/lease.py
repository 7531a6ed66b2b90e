"""Whether partitions are surely still ours, so that nobody hears from a worker that has been replaced."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_AWOKEN_S: Final = 1.0  # a process that was frozen hears within this whether its partitions were given away


class Lease:
    """Whether our partitions are surely ours: a process that was frozen may have lost them without knowing yet."""

    def __init__(self, session_timeout_s: float, seconds: Callable[[], float] = time.monotonic) -> None:
        self._timeout_s = session_timeout_s
        self._seconds = seconds
        self._renewed_s = seconds()
        self._not_before_s = 0.0

    def renew(self) -> None:
        """Say that the group is being listened to."""
        now_s = self._seconds()
        if now_s - self._renewed_s >= self._timeout_s:
            self._not_before_s = now_s + _AWOKEN_S
        self._renewed_s = now_s

    def holds(self) -> bool:
        """Return whether something may be sent; may be asked from any thread."""
        now_s = self._seconds()
        return now_s - self._renewed_s < self._timeout_s and now_s >= self._not_before_s
