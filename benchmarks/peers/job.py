"""The job that every peer does, but for how its framework calls it: parse, windowed mean per series, EW z-score.

A window of event time (60 s) of a series closes when its next sample lies beyond: samples of a series come in order.
What a peer's framework has of its own for a part of the job is used where it is faster than this.
"""

from __future__ import annotations

from calendar import timegm
from functools import lru_cache
from time import strptime

import msgspec

WINDOW_S = 60
FADING = 0.0115  # a half-life of 60 windows, as our z-score has it
THRESHOLD = 4.0
FIRST = 10  # windows of a series before it is scored


class Sample(msgspec.Struct):
    """What a message of prometheus-kafka-adapter says; labels as they stand are the name of the series."""

    labels: msgspec.Raw
    name: str
    timestamp: str
    value: str


decode = msgspec.json.Decoder(Sample).decode


@lru_cache(maxsize=4096)
def seconds(timestamp: str) -> int:
    """Return the Unix seconds of a time as the adapter writes it; few differ, so each is read once."""
    return timegm(strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ"))


def parsed(body: bytes) -> tuple[str, tuple[int, float]]:
    """Return (series, (seconds, value)) of a message."""
    sample = decode(body)
    return str(bytes(sample.labels), "utf-8"), (seconds(sample.timestamp), float(sample.value))


class Series:
    """A series' open window and what is known of it, in plain numbers."""

    __slots__ = ("count", "mean", "seen", "start", "total", "variance")

    def __init__(self) -> None:
        self.start, self.total, self.count = 0, 0.0, 0
        self.mean, self.variance, self.seen = 0.0, 0.0, 0

    def take(self, at_s: int, value: float) -> tuple[int, float, float] | None:
        """Return (window's start, mean, z) when this sample closes a window that crosses, else None."""
        start = at_s - at_s % WINDOW_S
        crossed = None
        if start != self.start:
            if self.count:
                crossed = self._closed()
            self.start, self.total, self.count = start, 0.0, 0
        self.total += value
        self.count += 1
        return crossed

    def _closed(self) -> tuple[int, float, float] | None:
        observed = self.total / self.count
        off = observed - self.mean
        deviation = self.variance**0.5
        z = off / deviation if self.seen >= FIRST and deviation > 0 else 0.0
        self.seen += 1
        gain = max(FADING, 1.0 / self.seen)
        self.mean += gain * off
        self.variance = (1.0 - gain) * (self.variance + gain * off * off)
        return (self.start, observed, z) if abs(z) > THRESHOLD else None
