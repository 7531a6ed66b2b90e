"""Counts what a peer has taken in, notes its processor seconds after the warm-up and at the end, and ends it."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Meter:
    """Writes `{"items", "cpu_s", "wall_s", "emitted"}` once `total` items were taken, the first `warm` left out.

    The process ends there: frameworks for streams have no end of their own, and ending in order would be counted.
    """

    warm: int
    total: int
    out: Path
    taken: int = 0
    emitted: int = 0
    started: tuple[int, float, float] | None = None
    said: dict[str, object] = field(default_factory=dict)

    @classmethod
    def from_arguments(cls) -> tuple[str, str, Meter]:
        """Return (broker, topic, meter) of the command line `BOOTSTRAP TOPIC WARM TOTAL OUT`."""
        bootstrap, topic, warm, total, out = sys.argv[1:6]
        return bootstrap, topic, cls(int(warm), int(total), Path(out))

    def add(self, number: int = 1) -> None:
        """Say that so many more items were handled."""
        self.taken += number
        if self.started is None:
            if self.taken >= self.warm:
                self.started = (self.taken, time.process_time(), time.monotonic())
        elif self.taken >= self.total:
            self._end(*self.started)

    def _end(self, taken: int, cpu_s: float, clock_s: float) -> None:
        result = {
            "items": self.taken - taken,
            "cpu_s": time.process_time() - cpu_s,
            "wall_s": time.monotonic() - clock_s,
            "emitted": self.emitted,
        }
        fresh = self.out.with_suffix(".tmp")
        fresh.write_text(json.dumps(result))
        fresh.replace(self.out)
        os._exit(0)
