"""Kubernetes events: core/v1 (`involvedObject`) or events.k8s.io/v1 (`regarding`), plain or as a watch tells them.

    {"type": "ADDED | MODIFIED | DELETED | BOOKMARK", "object": {...the event...}}

Kubernetes counts an event up when it is said again, and a watch tells each such update: `count` is a running total. A
row stands for the one occurrence that was told, so its count is 1; counts add up in windows. That an event was deleted
(they are, an hour later) tells nothing, nor does a bookmark: both are dropped, and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import msgspec
import polars as pl

from engine.ports import Decoded
from engine.schemas import Kind, conform
from ingest.identity import Identity, owners_of
from ingest.refused import Refused
from ingest.repeats import identity_of_columns
from ingest.scrub import Scrubber
from ingest.times import OUTSIDE, rfc3339_ms

MAX_MESSAGE_CHARS: Final = 4_096

_TELLS_NOTHING: Final[Mapping[str, str]] = {"DELETED": "deleted event", "BOOKMARK": "bookmark"}


class Involved(msgspec.Struct):
    """The object that an event is about; labels and owners are there where an exporter looked them up."""

    kind: str | None = ""
    namespace: str | None = ""
    name: str | None = ""
    labels: dict[str, Any] | None = None
    ownerReferences: list[Any] | None = None


class _Metadata(msgspec.Struct):
    namespace: str | None = ""
    uid: str | None = ""
    creationTimestamp: str | None = None


class _Series(msgspec.Struct):
    lastObservedTime: str | None = None
    count: int | None = None


class Event(msgspec.Struct):
    """An event of either API."""

    reason: str | None = None
    metadata: _Metadata | None = None
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
    involvedObject: Involved | None = None
    regarding: Involved | None = None


class _Told(Event):
    """An event, or what a watch tells of one: then `type` is what happened to it."""

    object: Event | None = None


@dataclass(frozen=True, slots=True)
class KubernetesEvents:
    """Decodes Kubernetes events."""

    name: ClassVar[str] = "kubernetes-events"
    kind: ClassVar[Kind] = "events"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row an event, and a dead letter for each message that is none."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        told, at = refused.decoded(_DECODER.decode)
        dropped = [_TELLS_NOTHING.get(one.type or "") if one.object else None for one in told]
        kept = [not why for why in dropped]
        events = [one.object or one for one, keep in zip(told, kept, strict=True) if keep]
        at = [position for position, keep in zip(at, kept, strict=True) if keep]
        rows = event_rows(events, at, refused, self.identity, self.scrubber)
        reasons = [why for why in dropped if why]
        return Decoded(rows, refused.letters(), {why: reasons.count(why) for why in sorted(set(reasons))})


def event_rows(
    events: Sequence[Event], at: Sequence[int], refused: Refused, identity: Identity, scrubber: Scrubber
) -> pl.DataFrame:
    """Return one row an event; refuse the messages (at the positions `at`) of those that name no object or time."""
    text = pl.String
    message = pl.Series([event.message or event.note or "" for event in events], dtype=text)
    frame = pl.DataFrame(
        {
            "at": pl.Series(at, dtype=pl.Int64),
            "ts_ms": rfc3339_ms(pl.Series([_time(event) for event in events], dtype=text)),
            "entity": pl.Series([_entity(event, identity) for event in events], dtype=text),
            "reason": scrubber.names(pl.Series([event.reason or "" for event in events], dtype=text)),
            "type": pl.Series([event.type or "Normal" for event in events], dtype=text),
            "message": scrubber.series(message.str.head(MAX_MESSAGE_CHARS)),
            "count": pl.Series([1] * len(events), dtype=pl.Int64),
            "uid": pl.Series([(event.metadata and event.metadata.uid) or "" for event in events], dtype=text),
            "times": pl.Series([str(_times(event)) for event in events], dtype=text),
        }
    )
    frame = refused.where(frame, pl.col("entity").is_null(), "no involvedObject with kind and name")
    frame = refused.where(frame, pl.col("reason") == "", "no reason")
    frame = refused.where(frame, pl.col("ts_ms").is_null(), OUTSIDE)
    frame = frame.with_columns(refused.offsets_of(frame["at"]), identity_of_columns(frame, "uid", "times"))
    return conform("events", frame)


def _entity(event: Event, identity: Identity) -> str | None:
    about = event.involvedObject or event.regarding
    if about is None or not about.kind or not about.name:
        return None
    labels = {key: value for key, value in (about.labels or {}).items() if isinstance(value, str)}
    namespace = about.namespace or (event.metadata and event.metadata.namespace) or ""
    return identity.of_involved(about.kind, namespace, about.name, labels, owners_of(about.ownerReferences))


def _times(event: Event) -> int | None:
    """Return how often it happened so far, as the event says it."""
    return event.series.count if event.series else event.count or event.deprecatedCount


def _time(event: Event) -> str | None:
    """Return when it happened last, as the event says it."""
    return (
        (event.series.lastObservedTime if event.series else None)
        or event.lastTimestamp
        or event.deprecatedLastTimestamp
        or event.eventTime
        or event.firstTimestamp
        or event.deprecatedFirstTimestamp
        or (event.metadata.creationTimestamp if event.metadata else None)
    )


_DECODER: Final = msgspec.json.Decoder(_Told)
