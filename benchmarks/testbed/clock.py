"""Times in the spellings that the wire formats want. The testbed is a source: it reads the wall clock."""

import time
from datetime import UTC, datetime


def now_ns() -> int:
    """Return the wall clock in nanoseconds since 1970, cut to microseconds as most tracers do."""
    return time.time_ns() // 1000 * 1000


def rfc3339_seconds(at_ns: int) -> str:
    """Spell a time as Kubernetes and the Prometheus adapter do: whole seconds, `Z`."""
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_ms(at_ns: int) -> str:
    """Spell a time with milliseconds, `Z`."""
    whole = datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{at_ns // 1_000_000 % 1000:03d}Z"
