"""The numbers that a pod counts about itself: requests, errors, requests in flight, and waiting for its locks."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.testbed.exposition import Sample


class LockBusyError(Exception):
    """The lock was not to be had in the time allowed."""


class MeteredLock:
    """A mutex that says how many threads wait for it and how long they waited in all."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._meter = threading.Lock()
        self._waiters = 0
        self._waited_s = 0.0

    @contextmanager
    def held(self, wait_s: float) -> Iterator[float]:
        """Hold the lock; yields the seconds waited for it.

        Raises:
            LockBusyError: `wait_s` passed first; the message says how many others wait.
        """
        waited_s = self._acquire(wait_s)
        try:
            yield waited_s
        finally:
            self._lock.release()

    def samples(self) -> Iterator[Sample]:
        """Yield the two series of this lock."""
        yield Sample("lock_waiters", {"lock": self.name}, float(self._waiters))
        yield Sample("lock_wait_seconds_total", {"lock": self.name}, round(self._waited_s, 6))

    def _acquire(self, wait_s: float) -> float:
        began = time.perf_counter()
        with self._meter:
            self._waiters += 1
        taken = self._lock.acquire(timeout=wait_s)
        waited_s = time.perf_counter() - began
        with self._meter:
            self._waiters -= 1
            self._waited_s += waited_s
            others = self._waiters
        if not taken:
            raise LockBusyError(f"lock {self.name} not acquired in {wait_s:.1f} s, {others} others are waiting")
        return waited_s


class Meters:
    """Counts the requests of one pod and knows its locks."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._in_flight = 0
        self._locks: list[MeteredLock] = []

    def lock(self, name: str) -> MeteredLock:
        """Return a new lock whose waiting is reported."""
        lock = MeteredLock(name)
        self._locks.append(lock)
        return lock

    def begin(self) -> None:
        """Count a request in."""
        with self._guard:
            self._in_flight += 1

    def end(self, route: str, failed: bool) -> None:
        """Count a request out."""
        with self._guard:
            self._in_flight -= 1
            self._requests[route] += 1
            self._errors[route] += failed

    @property
    def in_flight(self) -> int:
        """The number of requests being served now."""
        return self._in_flight

    def samples(self) -> Iterator[Sample]:
        """Yield every series of this pod's own counting; counters of errors exist from the first request on."""
        with self._guard:
            requests, errors, in_flight = dict(self._requests), dict(self._errors), self._in_flight
        for route, count in sorted(requests.items()):
            yield Sample("http_requests_total", {"route": route}, float(count))
            yield Sample("http_request_errors_total", {"route": route}, float(errors[route]))
        yield Sample("http_requests_in_flight", {}, float(in_flight))
        for lock in self._locks:
            yield from lock.samples()
