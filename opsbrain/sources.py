"""Where the rows of each input went: received = accepted + late + dropped + duplicate + dead-lettered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.schemas import Kind


@dataclass(frozen=True, slots=True)
class Source:
    """The accounts of one input, in rows; an undecodable message is one row.

    accepted        rows that went into windows
    late            rows that came after their window had closed
    duplicate       rows that had come before, while their window was open
    dead_lettered   rows that could not be used; the dead letters say why
    dead_reasons    the most frequent reasons of these, most rows first
    dropped         rows left out on purpose, by reason
    scrubbed        secrets and personal data taken out, by kind, since the start of this process
    crowded         metrics with more label sets than are let in, and how many of their rows were dropped
    latest_ms       the newest event time, or -1
    """

    name: str
    kind: Kind
    accepted: int = 0
    late: int = 0
    duplicate: int = 0
    dead_lettered: int = 0
    dead_reasons: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    scrubbed: Mapping[str, int] = field(default_factory=dict)
    crowded: Mapping[str, int] = field(default_factory=dict)
    latest_ms: int = -1

    @property
    def received(self) -> int:
        """Return how many rows came."""
        return self.accepted + self.late + self.duplicate + self.dead_lettered + sum(self.dropped.values())

    @property
    def alarms(self) -> list[str]:
        """Return what somebody should look at, in words."""
        return [
            f"{metric} has more label sets than are let in; those known stay, {count:,} rows of others were dropped"
            for metric, count in sorted(self.crowded.items())
        ]

    def plain(self) -> dict[str, Any]:
        """Return the accounts as plain data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "received": self.received,
            "accepted": self.accepted,
            "late": self.late,
            "dropped": dict(sorted(self.dropped.items())),
            "duplicate": self.duplicate,
            "dead_lettered": self.dead_lettered,
            "dead_reasons": dict(self.dead_reasons),
            "scrubbed": dict(sorted(self.scrubbed.items())),
            "crowded": dict(sorted(self.crowded.items())),
            "alarms": self.alarms,
            "newest_ms": self.latest_ms if self.latest_ms >= 0 else None,
        }


def reasons(counts: Mapping[str, int]) -> str:
    """Return counts by reason in words, as "stale marker 3, native histogram 1"."""
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
