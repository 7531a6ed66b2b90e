"""When models are fitted and from when they are used: a function of event time alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FitSchedule:
    """Fits happen at multiples of `every_ms`, on history before that time, and take effect `delay_ms` later.

    The delay is the time a fit may take in a live system before windows have to wait for it.
    """

    every_ms: int = 3_600_000
    delay_ms: int = 300_000

    def next_fit(self, start_ms: int) -> int:
        """Return the time of the first fit that has the window starting at `start_ms` in its history."""
        return (start_ms // self.every_ms + 1) * self.every_ms

    def in_force_from(self, until_ms: int) -> int:
        """Return the start of the first window for which the fit of `until_ms` is used."""
        return until_ms + self.delay_ms
