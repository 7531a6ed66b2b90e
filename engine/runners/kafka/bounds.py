"""How the memory of a worker is shared out among what waits in queues, so that a slow stage never fills the heap.

The queues together take about an eighth of the ceiling; the rest is for state and for what is being worked on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Bounds:
    """Largest sizes of what waits, in bytes.

    prefetch_bytes   telemetry that was fetched and not consumed yet (one queue for all partitions)
    fetch_bytes      one answer of the broker
    batch_bytes      telemetry that is decoded in one go
    outgoing_bytes   messages of one producer that the broker has not taken yet
    buffered_bytes   messages that Faust holds for one step
    backlog_bytes    partials that are decoded and not detected yet: in the broker, but read again they come here
    """

    prefetch_bytes: int
    fetch_bytes: int
    batch_bytes: int
    outgoing_bytes: int
    buffered_bytes: int
    backlog_bytes: int


def bounds_of(limit_bytes: int) -> Bounds:
    """Return the bounds under a ceiling; at 4 GiB the client's own defaults."""
    prefetch = _clamp(limit_bytes // 64, 4 * _MIB, 64 * _MIB)
    return Bounds(
        prefetch_bytes=prefetch,
        fetch_bytes=min(prefetch, 50 * _MIB),
        batch_bytes=_clamp(limit_bytes // 128, 2 * _MIB, 32 * _MIB),
        outgoing_bytes=_clamp(limit_bytes // 32, 24 * _MIB, 256 * _MIB),  # at least one of the largest messages
        buffered_bytes=_clamp(limit_bytes // 128, 4 * _MIB, 64 * _MIB),
        backlog_bytes=_clamp(limit_bytes // 16, 16 * _MIB, 512 * _MIB),
    )


def _clamp(value: int, least: int, most: int) -> int:
    return max(least, min(value, most))
