"""When a delivery that failed is tried again."""

from __future__ import annotations

from typing import Final
from zlib import crc32

FIRST_MS: Final = 5_000
LONGEST_MS: Final = 900_000


def wait_ms(attempts: int, retry_after_s: float, delivery_id: str) -> int:
    """Return how long to wait after failed attempt number `attempts` (from 1).

    Doubles from 5 s to 15 minutes; never less than the receiver asked for. Up to a quarter is added, by the hash of the
    id, so that receivers coming back are not met by everything at once.

    >>> wait_ms(1, 0, "inc-1.1"), wait_ms(1, 60, "inc-1.1")
    (5293, 60293)
    """
    doubled = min(FIRST_MS * (1 << min(attempts - 1, 20)), LONGEST_MS)
    spread = doubled * (crc32(f"{delivery_id}/{attempts}".encode()) % 1000) // 4000
    return max(doubled, int(retry_after_s * 1000)) + spread
