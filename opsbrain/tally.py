"""Counts the requests that came and were refused, and says in the log where tokens and signatures are wrong."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from ingest.registry import FORMATS
from opsbrain.endpoints import ENDPOINTS, GRPC_METHODS, RECEIVE

LOG_EVERY_S: Final = 60.0
UNKNOWN: Final = "unknown"
CONSOLE: Final = "console"

_log = logging.getLogger(__name__)


class Tally:
    """Counts requests by format and outcome; thread-safe."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        """Take the time, for how often something is said, from `seconds`."""
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[str]] = {}
        self._strangers: Counter[str] = Counter()
        self._seconds = seconds
        self._said_s = -LOG_EVERY_S

    def add(self, format: str, outcome: str, size: int = 0) -> None:
        """Count one request of a format; `outcome` is "kept" or its status."""
        with self._lock:
            counts = self._counts.setdefault(format, Counter())
            counts[outcome] += 1
            counts["bytes"] += size

    def counts(self) -> dict[str, dict[str, int]]:
        """Return requests by outcome, and the bytes kept, of each format that was asked for."""
        with self._lock:
            return {name: dict(one) for name, one in sorted(self._counts.items())}

    def stranger(self, path: str, what: str) -> None:
        """Take note that at `path` (any that somebody asked for) something was wrong, such as "wrong token"."""
        with self._lock:
            self._strangers[f"{what} at {place_of(path)[1]}"] += 1
        self.say()

    def say(self) -> None:
        """Log what was wrong since the last time, at most one line each LOG_EVERY_S."""
        with self._lock:
            now_s = self._seconds()
            if not self._strangers or now_s - self._said_s < LOG_EVERY_S:
                return
            told = ", ".join(f"{what} ({_times(count)})" for what, count in sorted(self._strangers.items()))
            self._strangers.clear()
            self._said_s = now_s
        _log.warning("%s", told)


def place_of(path: str) -> tuple[str, str]:
    """Return the format that a path is counted under, and how it is named; a stranger chooses neither of them."""
    known = ENDPOINTS.get(path) or GRPC_METHODS.get(path)
    if known is not None:
        return known, path
    if path.startswith(RECEIVE):
        name = path.removeprefix(RECEIVE).strip("/")
        return (name, RECEIVE + name) if name in FORMATS else (UNKNOWN, f"{RECEIVE}...")
    return CONSOLE, "the console"


def _times(count: int) -> str:
    return f"{count:,} time{'s' if count != 1 else ''}"
