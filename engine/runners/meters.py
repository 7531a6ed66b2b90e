"""What a running worker reports of itself: four counters a component, and the time that each stage took.

Every component reports the same four things, whatever it is: what it received, what it sent, what it dropped and why, and
what went wrong. They are plain numbers, added to by the thread that does the work and read by whoever serves them: a
reader may see a number a moment late, never a wrong one.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

Gauge = Callable[[], Mapping[tuple[str, ...], float]]
"""Asked when somebody looks: by label values, what is so now. Called from another thread; must not block."""


@dataclass(frozen=True, slots=True)
class Component:
    """The counters of one component: rows, messages or requests, whatever it handles."""

    received: Counter[str] = field(default_factory=Counter)  # all by what: an input, a topic; "" if there is only one
    sent: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)  # by reason
    errors: Counter[str] = field(default_factory=Counter)  # by kind


class Meters:
    """All that one process reports. `gauges` are by name, with the names of their labels."""

    def __init__(self) -> None:
        self.components: dict[str, Component] = {}
        self.stage_s: defaultdict[str, float] = defaultdict(float)
        self.gauges: dict[str, tuple[tuple[str, ...], Gauge]] = {}

    def component(self, name: str) -> Component:
        """Return the counters of a component, which appears with its first mention."""
        return self.components.setdefault(name, Component())

    def gauge(self, name: str, labels: tuple[str, ...], read: Gauge) -> None:
        """Report what `read` returns under `name`; a later one of the same name replaces it."""
        self.gauges[name] = (labels, read)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the processor time of this thread that the block takes to the stage's."""
        began_s = time.thread_time()
        try:
            yield
        finally:
            self.stage_s[name] += time.thread_time() - began_s
