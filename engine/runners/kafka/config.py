"""What the Kafka runner needs to know of the broker, and what it reads from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from engine import messages as streams
from engine.ports import Format

OUR_STREAMS: Final = (
    streams.FEATURES,
    streams.SPANS,
    streams.FITS,
    streams.HISTORY,
    streams.ANOMALIES,
    streams.CONTEXT,
    streams.TOPOLOGY,
    streams.CHANGES,
    streams.INCIDENTS,
    streams.FIXES,
    streams.LATE,
    streams.DEADLETTERS,
)

SNAPSHOTS: Final = "snapshots"
"""The compacted topic of snapshots; partition p holds those of every step's partition p."""

LARGEST_MESSAGE_BYTES: Final = 20_000_000
"""Largest message of ours that topics take: the partials of one window and input, all series of a partition."""

RECONNECT_MS: Final = 1_000
"""How long a client waits at most before it tries a broker that is away again: so soon does work go on."""

MARK_HEADER: Final = "opsbrain-mark"
"""A header of telemetry messages that says more than their bodies do."""

REQUEST_HEADER: Final = "opsbrain-request"
"""A header of telemetry messages that are one whole HTTP request: if it was sent again, its rows are repeats."""

END: Final = b"end"
"""Its partition has ended (recorded data). The body means nothing."""

RECORDED: Final = b"recorded"
"""The message was sent at another time than it speaks of: when it came in says nothing about its sender's clock."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """One telemetry topic: its name and what its messages look like (the format knows the scope)."""

    topic: str
    format: Format


@dataclass(frozen=True, slots=True)
class RetentionHours:
    """How long our topics keep their messages: between steps, what was concluded, what was refused (late, bad)."""

    steps: int = 168
    conclusions: int = 720
    refused: int = 168


@dataclass(frozen=True, slots=True)
class KafkaConfig:
    """Broker, names and timing.

    bootstrap           `host:port,host:port`
    telemetry           what is read
    scopes              scopes of all telemetry
    group_prefix        begins the names of our consumer groups
    topic_prefix        begins the names of our topics
    partitions          partitions of each of our topics; changing it later means starting with fresh topics
    replication         copies of each message of ours; 0 takes three, or as many as there are brokers
    retention_hours     how long our topics keep their messages
    session_timeout_s   after how much silence a worker counts as dead
    checkpoint_every_s  how often offsets and snapshots are committed: what is redone after a crash
    idle_after_s        after how much silence an input no longer holds windows open; 0 means never
    start_from_ms       where a group that has committed nothing yet begins to read telemetry: at the first message that
                        the broker took at this time or later; None is at the first there is
    memory_limit_bytes  the memory that a worker keeps below
    security            librdkafka's security settings, passed through
    """

    bootstrap: str
    telemetry: tuple[Telemetry, ...]
    scopes: tuple[str, ...]
    group_prefix: str = "opsbrain"
    topic_prefix: str = "opsbrain."
    partitions: int = 8
    replication: int = 0
    retention_hours: RetentionHours = field(default_factory=RetentionHours)
    session_timeout_s: float = 10.0
    checkpoint_every_s: float = 2.0
    idle_after_s: float = 30.0
    start_from_ms: int | None = None
    memory_limit_bytes: int = 4096 << 20
    security: Mapping[str, str] = field(default_factory=dict)

    def topic(self, stream: str) -> str:
        """Return the topic of a stream."""
        return f"{self.topic_prefix}{stream}"

    def group(self, role: str) -> str:
        """Return the consumer group of a role."""
        return f"{self.group_prefix}-{role}"

    def client(self, **more: object) -> dict[str, object]:
        """Return the settings of a librdkafka client; `more` adds to them with `.` written as `_`."""
        named = {name.replace("_", "."): value for name, value in more.items()}
        # librdkafka's own lines on standard error would hide ours: what matters comes back as errors
        quiet = {"bootstrap.servers": self.bootstrap, "log_level": 0}
        return {**quiet, "reconnect.backoff.max.ms": RECONNECT_MS, **self.security, **named}
