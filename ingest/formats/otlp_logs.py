"""OTLP logs: one `ExportLogsServiceRequest` (`LogsData`) a message, protobuf or JSON; over HTTP, gRPC or Kafka.

A record's time is `timeUnixNano`, else when it was observed, else when its message came in. Its text is the body, as
canonical JSON where that is no text; without a body it is the exception that the attributes tell of, or the event's
name. Its severity is the number's, else the severity text's, else what the text says. Its entity is what the resource
names; where that names no pod, the record's own `k8s.*` attributes speak too (the Collector's `filelog` receiver).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import numpy as np
import polars as pl

from engine.ports import Decoded
from engine.schemas import Kind, conform
from ingest.identity import IDENTITY_LABELS, POD_LABELS, Identity
from ingest.loglines import with_text
from ingest.otlp_numbers import NOWHERE, nanos_to_ms, words_at
from ingest.otlp_requests import Bounds, Request, items_of, opened, read_each
from ingest.otlp_resources import Resources
from ingest.otlp_values import attributes, text_of
from ingest.protobuf import fields, fixed64_key, length_key, text, varint_key
from ingest.refused import Refused
from ingest.scrub import Scrubber
from ingest.severity import SEVERITIES
from ingest.times import OUTSIDE, sane

_TIME: Final = fixed64_key(1)
_NUMBER: Final = varint_key(2)
_LEVEL: Final = length_key(3)
_BODY: Final = length_key(5)
_ATTRIBUTE: Final = length_key(6)
_OBSERVED: Final = fixed64_key(11)
_EVENT: Final = length_key(12)

_CONVENTIONAL: Final = frozenset(label for label in IDENTITY_LABELS if "." in label)
"""Attributes whose names are so long that they mean what they say; `host` or `service` may be a call's other side."""

_Row = tuple[int, str, int, int, str | None, str | None]
"""Position of its message, entity, places of its time and of when it was observed, level, text."""


@dataclass(frozen=True, slots=True)
class OtlpLogs:
    """Decodes log records; resources are looked at once each."""

    name: ClassVar[str] = "otlp-logs"
    kind: ClassVar[Kind] = "logs"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)
    _resources: Resources = field(default_factory=Resources, compare=False, repr=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row a record; refuse messages that are no request, and of others the records that are none."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        data, requests = opened(bodies, "logs", refused)
        rows: list[_Row] = []

        def read(request: Request) -> None:
            for items in items_of(data, request):
                sender = _Sender(self._resources, self.identity, items.resource)
                rows.extend([_row(data, a, b, request.position, sender) for a, b in items.bounds])

        read_each(requests, refused, read, rows)
        frame = _frame(data, rows, received_ms)
        frame = refused.rows(frame, pl.col("body").is_null(), "a record has no text")
        frame = refused.rows(frame, pl.col("ts_ms").is_null(), OUTSIDE)
        frame = with_text(frame.with_columns(refused.offsets_of(frame["at"])), self.scrubber)
        return Decoded(conform("logs", frame), refused.letters())


class _Sender:
    """Says who the records of one resource come from."""

    __slots__ = ("entity", "identity", "resource", "speaks")

    def __init__(self, resources: Resources, identity: Identity, raw: bytes) -> None:
        self.entity = resources.entity(raw, identity)
        self.identity = identity
        self.resource: Mapping[str, str] = resources.attributes(raw)
        self.speaks = any(self.resource.get(label) for label in POD_LABELS)

    def entity_of(self, own: Mapping[str, str]) -> str:
        """Return the entity of a record with these attributes of its own."""
        if self.speaks:
            return self.entity
        silent = IDENTITY_LABELS.isdisjoint(self.resource)
        said = {key: value for key, value in own.items() if key in (IDENTITY_LABELS if silent else _CONVENTIONAL)}
        return self.identity.of_resource({**said, **self.resource}) if said else self.entity


def _row(data: bytes, start: int, end: int, position: int, sender: _Sender) -> _Row:
    time_at = observed_at = NOWHERE
    number, level, body, event = 0, "", "", ""
    own: list[Bounds] = []
    for key, a, b in fields(data, start, end):
        if key == _TIME:
            time_at = a
        elif key == _OBSERVED:
            observed_at = a
        elif key == _NUMBER:
            number = a
        elif key == _LEVEL:
            level = text(data, a, b)
        elif key == _BODY:
            body = text_of(data, a, b)
        elif key == _ATTRIBUTE:
            own.append((a, b))
        elif key == _EVENT:
            event = text(data, a, b)
    said = attributes(data, own) if own and not (body and sender.speaks) else {}
    severity = SEVERITIES[(number - 1) // 4] if 1 <= number <= 24 else level or None
    return position, sender.entity_of(said), time_at, observed_at, severity, body or _exception(said) or event or None


def _exception(attributes: Mapping[str, str]) -> str:
    parts = (attributes.get("exception.type", ""), attributes.get("exception.message", ""))
    return ": ".join(part for part in parts if part)


def _frame(data: bytes, rows: Sequence[_Row], received_ms: Sequence[int]) -> pl.DataFrame:
    at, entity, time_at, observed_at, level, body = zip(*rows, strict=True) if rows else [()] * 6
    time, observed = words_at(data, time_at), words_at(data, observed_at)
    stamped = nanos_to_ms(np.where(time != 0, time, observed))
    if len(received_ms) and rows:
        came = np.asarray(received_ms, dtype=np.int64)[np.asarray(at, dtype=np.int64)]
        stamped = np.where(stamped != 0, stamped, came)
    return pl.DataFrame(
        {
            "at": pl.Series(at, dtype=pl.Int64),
            "ts_ms": sane(pl.Series(stamped, dtype=pl.Int64)),
            "entity": pl.Series(entity, dtype=pl.String),
            "level": pl.Series(level, dtype=pl.String),
            "body": pl.Series(body, dtype=pl.String),
        }
    )
