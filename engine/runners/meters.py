"""What a running worker reports of itself: four counters a component, the time of each stage, and how its roles are.

Every component reports the same four things, whatever it is: what it received, what it sent, what it dropped and why,
and what went wrong. They are plain numbers, added to by the thread that does the work and read by whoever serves them:
a reader may see a number a moment late, never a wrong one.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

Gauge = Callable[[], Mapping[tuple[str, ...], float]]
"""Asked when somebody looks: by label values, what is so now. Called from another thread; must not block."""

Positions = Callable[[], Mapping[tuple[str, int], int]]
"""Asked when somebody looks, from another thread: by topic and partition, the offset of the next message.

COMMITTED stands for that of the role's consumer group.
"""
COMMITTED: Final = -1

CHECKPOINT_AGE: Final = "opsbrain_checkpoint_age_seconds"
STATE_SERIES: Final = "opsbrain_state_series"
OUTBOX_PENDING: Final = "opsbrain_outbox_pending"
BROKER_CONNECTED: Final = "opsbrain_broker_connected"
MEMORY_LIMIT: Final = "opsbrain_memory_limit_bytes"
PAUSED: Final = "opsbrain_paused"
LAG: Final = "opsbrain_consumer_lag_messages"
ASSIGNED: Final = "opsbrain_partitions_assigned"
WATERMARK_DELAY: Final = "opsbrain_watermark_delay_seconds"


@dataclass(frozen=True, slots=True)
class Component:
    """The counters of one component: rows, messages or requests, whatever it handles."""

    received: Counter[str] = field(default_factory=Counter)  # all by what: an input, a topic; "" if there is only one
    sent: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)  # by reason
    errors: Counter[str] = field(default_factory=Counter)  # by kind


class Meters:
    """All that one process reports. `gauges` are by name, with the names of their labels.

    beats        by role, when its loop came round last (`seconds`)
    waiting      by role, why it cannot work yet: nobody should send work, or people, this way
    owned        by role, where it stands in the partitions that it reads
    checkpoints  by role, when all that it had taken was committed last (`seconds`)
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        """Take the time, for ages, from `seconds`."""
        self.seconds = seconds
        self.components: dict[str, Component] = {}
        self.readings: dict[str, Callable[[], Component]] = {}
        self.stage_s: defaultdict[str, float] = defaultdict(float)
        self.gauges: dict[str, tuple[tuple[str, ...], Gauge]] = {}
        self.beats: dict[str, float] = {}
        self.waiting: dict[str, str] = {}
        self.checkpoints: dict[str, float] = {}
        self.owned: dict[str, Positions] = {}
        self._lock = threading.Lock()

    def component(
        self,
        name: str,
        *,
        received: Iterable[str] = (),
        sent: Iterable[str] = (),
        dropped: Iterable[str] = (),
        errors: Iterable[str] = (),
    ) -> Component:
        """Return the counters of a component, which appears with its first mention.

        What is named beforehand is reported as 0 until it happens: a rate needs the number before the first one.
        """
        one = self.components.setdefault(name, Component())
        told = (one.received, received), (one.sent, sent), (one.dropped, dropped), (one.errors, errors)
        for counter, names in told:
            for named in names:
                counter.setdefault(named, 0)
        return one

    def reading(self, name: str, read: Callable[[], Component]) -> None:
        """Report as a component what `read` returns when somebody looks: it keeps counts of its own anyway.

        Called from another thread; must not block, and no count may ever fall.
        """
        self.readings[name] = read

    def gauge(self, name: str, labels: tuple[str, ...], read: Gauge) -> None:
        """Report what `read` returns under `name`; a later one of the same name replaces it."""
        self.gauges[name] = (labels, read)

    def set(self, name: str, value: float) -> None:
        """Report `value` under `name`, without labels, until the next one."""
        self.gauges[name] = ((), lambda: {(): value})

    def value(self, name: str, unless: float) -> float:
        """Return what is reported under `name` without labels; `unless` it is not."""
        return self.gauges[name][1]().get((), unless) if name in self.gauges else unless

    def beat(self, role: str) -> None:
        """Say that a role's loop came round: it is alive."""
        self.beats[role] = self.seconds()

    def wait(self, role: str, why: str) -> None:
        """Say that a role cannot work yet, and why; `ready` takes it back."""
        self.waiting[role] = why

    def ready(self, role: str) -> None:
        """Say that a role has all that it needs."""
        self.waiting.pop(role, None)

    def checkpointed(self, role: str) -> None:
        """Say that all that a role has taken is committed, or that it has taken nothing yet."""
        self.checkpoints[role] = self.seconds()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the processor time of this thread that the block takes to the stage's."""
        began_s = time.thread_time()
        try:
            yield
        finally:
            spent_s = time.thread_time() - began_s
            with self._lock:  # two threads may be in stages of one name
                self.stage_s[name] += spent_s
