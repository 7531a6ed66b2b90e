"""Counts the requests that came and were refused, and says in the log where tokens and signatures are wrong."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from engine.runners.meters import Component
from ingest.registry import FORMATS
from opsbrain import endpoints
from opsbrain.endpoints import ENDPOINTS, GRPC_METHODS

LOG_EVERY_S: Final = 60.0
RECEIVE: Final = "receive"
UNKNOWN: Final = "unknown"
CONSOLE: Final = "console"
ERRORS: Final = {
    "503": "unavailable",
    "UNAVAILABLE": "unavailable",
    "429": "full",
    "RESOURCE_EXHAUSTED": "full",
}
"""What of the refusals is our failure rather than the sender's, by status: the disk or the broker, or no room."""

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

    def component(self) -> Component:
        """Return the counters of whoever receives: requests by format, refusals by status."""
        told = Component(errors=Counter(dict.fromkeys(ERRORS.values(), 0)))
        for format, counts in self.counts().items():
            for outcome, requests in counts.items():
                if outcome != "bytes":
                    _count(told, format, outcome, requests)
        return told

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


def _count(told: Component, format: str, outcome: str, requests: int) -> None:
    told.received[format] += requests
    if outcome == "kept":
        told.sent[format] += requests
        return
    told.dropped[outcome] += requests
    if outcome in ERRORS:
        told.errors[ERRORS[outcome]] += requests


def place_of(path: str) -> tuple[str, str]:
    """Return the format that a path is counted under, and how it is named; a stranger chooses neither of them."""
    known = ENDPOINTS.get(path) or GRPC_METHODS.get(path)
    if known is not None:
        return known, path
    if path.startswith(endpoints.RECEIVE):
        name = path.removeprefix(endpoints.RECEIVE).strip("/")
        return (name, endpoints.RECEIVE + name) if name in FORMATS else (UNKNOWN, f"{endpoints.RECEIVE}...")
    return CONSOLE, "the console"


def _times(count: int) -> str:
    return f"{count:,} time{'s' if count != 1 else ''}"
