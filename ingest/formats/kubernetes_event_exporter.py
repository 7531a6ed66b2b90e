"""kubernetes-event-exporter: one Event a message as JSON, core/v1 (`involvedObject`) or events.k8s.io/v1 (`regarding`).

Kubernetes counts an event up when it is said again, and the exporter sends each such update: `count` is a running
total. A row stands for the one occurrence that made the exporter send it, so its count is 1; counts add up in windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import polars as pl

from engine.ports import Decoded
from engine.schemas import Kind, conform
from ingest.identity import Identity, owners_of
from ingest.refused import Refused
from ingest.repeats import identity_of_columns
from ingest.scrub import Scrubber
from ingest.times import OUTSIDE, rfc3339_ms

_MAX_MESSAGE_CHARS: Final = 4_096


class _Involved(msgspec.Struct):
    kind: str = ""
    namespace: str | None = ""
    name: str = ""
    labels: dict[str, Any] | None = None
    ownerReferences: list[Any] | None = None


class _Metadata(msgspec.Struct):
    namespace: str | None = ""
    uid: str | None = ""
    creationTimestamp: str | None = None


class _Series(msgspec.Struct):
    lastObservedTime: str | None = None
    count: int | None = None


class _Event(msgspec.Struct):
    reason: str
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    message: str | None = None
    note: str | None = None
    type: str | None = None
    lastTimestamp: str | None = None
    firstTimestamp: str | None = None
    eventTime: str | None = None
    deprecatedLastTimestamp: str | None = None
    deprecatedFirstTimestamp: str | None = None
    series: _Series | None = None
    count: int | None = None
    deprecatedCount: int | None = None
    involvedObject: _Involved | None = None
    regarding: _Involved | None = None


@dataclass(frozen=True, slots=True)
class KubernetesEventExporter:
    """Decodes Kubernetes events."""

    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)

    @property
    def name(self) -> str:
        """Return the format's name."""
        return "kubernetes-event-exporter"

    @property
    def kind(self) -> Kind:
        """Return the kind of its rows."""
        return "events"

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row an event, and a dead letter for each message that is none."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        events, at = refused.decoded(_DECODER.decode)
        message = pl.Series([event.message or event.note or "" for event in events], dtype=pl.String)
        frame = pl.DataFrame(
            {
                "at": pl.Series(at, dtype=pl.Int64),
                "ts_ms": rfc3339_ms(pl.Series([_time(event) for event in events], dtype=pl.String)),
                "entity": pl.Series([self._entity(event) for event in events], dtype=pl.String),
                "reason": self.scrubber.names(pl.Series([event.reason for event in events], dtype=pl.String)),
                "type": pl.Series([event.type or "Normal" for event in events], dtype=pl.String),
                "message": self.scrubber.series(message.str.head(_MAX_MESSAGE_CHARS)),
                "count": pl.Series([1] * len(events), dtype=pl.Int64),
                "uid": pl.Series([event.metadata.uid or "" for event in events], dtype=pl.String),
                "times": pl.Series([str(_times(event)) for event in events], dtype=pl.String),
            }
        )
        frame = refused.where(frame, pl.col("entity").is_null(), "no involvedObject with kind and name")
        frame = refused.where(frame, pl.col("reason") == "", "no reason")
        frame = refused.where(frame, pl.col("ts_ms").is_null(), OUTSIDE)
        frame = frame.with_columns(refused.offsets_of(frame["at"]), identity_of_columns(frame, "uid", "times"))
        return Decoded(conform("events", frame), refused.letters())

    def _entity(self, event: _Event) -> str | None:
        about = event.involvedObject or event.regarding
        if about is None or not about.kind or not about.name:
            return None
        labels = {key: value for key, value in (about.labels or {}).items() if isinstance(value, str)}
        owners = owners_of(about.ownerReferences)
        namespace = about.namespace or event.metadata.namespace or ""
        return self.identity.of_involved(about.kind, namespace, about.name, labels, owners)


def _times(event: _Event) -> int | None:
    """Return how often it happened so far, as the event says it."""
    return event.series.count if event.series else event.count or event.deprecatedCount


def _time(event: _Event) -> str | None:
    """Return when it happened last, as the event says it."""
    return (
        (event.series.lastObservedTime if event.series else None)
        or event.lastTimestamp
        or event.deprecatedLastTimestamp
        or event.eventTime
        or event.firstTimestamp
        or event.deprecatedFirstTimestamp
        or event.metadata.creationTimestamp
    )


_DECODER: Final = msgspec.json.Decoder(_Event)
