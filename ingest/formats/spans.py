"""Spans: one a message, as JSON, ended.

    {"trace_id","span_id","parent_span_id","name","kind","start_time_unix_nano","end_time_unix_nano",
     "status":"ok"|"error","resource":{"service.name","k8s.namespace.name","k8s.pod.name","k8s.node.name"}}

A row's time is the span's end. Its operation is the span's name, with `client ` before it where the span is a caller's
side of a call, so that what a service does and what it waits for are not one series. Nanoseconds may be numbers or text
(as in OTLP JSON).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import msgspec
import polars as pl

from engine.ports import Decoded
from engine.schemas import Kind, conform
from ingest.identity import Identity
from ingest.refused import UNREADABLE, Refused
from ingest.repeats import identity_of_columns
from ingest.scrub import Scrubber
from ingest.times import OUTSIDE, sane

_MAX_CACHED: Final = 100_000  # distinct resources; about 500 bytes each
_NO_PARENT: Final = (None, "", "0000000000000000")


_CLIENT: Final[tuple[Any, ...]] = ("client", "SPAN_KIND_CLIENT", 3)

CLIENT_PREFIX: Final = "client "
"""Begins the operation of a client's span: what a service does, and what it waits for, are measured apart."""


class _Span(msgspec.Struct, gc=False):
    trace_id: str
    span_id: str
    name: str
    start_time_unix_nano: int | str
    end_time_unix_nano: int | str
    resource: msgspec.Raw
    parent_span_id: str | None = None
    kind: Any = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Spans:
    """Decodes spans; resources are looked at once each."""

    name: ClassVar[str] = "spans"
    kind: ClassVar[Kind] = "spans"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)
    _known: dict[bytes, str] = field(default_factory=dict, compare=False, repr=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row a span, and a dead letter for each message that is none."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        spans, at = refused.decoded(_DECODER.decode)
        frame = pl.DataFrame(
            {
                "at": pl.Series(at, dtype=pl.Int64),
                "entity": pl.Series([self._entity(span) for span in spans], dtype=pl.String),
                "trace_id": pl.Series([span.trace_id for span in spans], dtype=pl.String),
                "span_id": pl.Series([span.span_id for span in spans], dtype=pl.String),
                "parent_span_id": pl.Series([_parent(span) for span in spans], dtype=pl.String),
                "operation": self.scrubber.names(pl.Series([_operation(span) for span in spans], dtype=pl.String)),
                "start_ns": _nanos([span.start_time_unix_nano for span in spans]),
                "end_ns": _nanos([span.end_time_unix_nano for span in spans]),
                "error": pl.Series([_failed(span) for span in spans], dtype=pl.Boolean),
            }
        )
        # numpy divides a lone row as it divides many; polars (2.1) does not, and batches must make no difference
        nanos = (frame["end_ns"] - frame["start_ns"]).to_numpy()
        frame = frame.with_columns(ts_ms=sane(frame["end_ns"] // 1_000_000), duration_ms=pl.Series(nanos / 1e6))
        frame = refused.where(frame, pl.col("entity") == "", "resource is not an object of texts")
        frame = refused.where(frame, (pl.col("trace_id") == "") | (pl.col("span_id") == ""), "an id is empty")
        frame = refused.where(frame, pl.col("ts_ms").is_null(), OUTSIDE)
        frame = refused.where(frame, ~(pl.col("start_ns") >= 0) | (pl.col("duration_ms") < 0), "ends before it begins")
        frame = frame.with_columns(refused.offsets_of(frame["at"]), identity_of_columns(frame, "trace_id", "span_id"))
        return Decoded(conform("spans", frame), refused.letters())

    def _entity(self, span: _Span) -> str:
        raw = bytes(span.resource)
        known = self._known.get(raw)
        if known is None:
            if len(self._known) > _MAX_CACHED:
                self._known.clear()
            known = self._known[raw] = self._of_resource(raw)
        return known

    def _of_resource(self, raw: bytes) -> str:
        try:
            resource = _RESOURCE.decode(raw)
        except UNREADABLE:
            return ""
        return self.identity.of_resource(resource)


def _operation(span: _Span) -> str:
    return CLIENT_PREFIX + span.name if span.kind in _CLIENT else span.name


def _parent(span: _Span) -> str | None:
    return None if span.parent_span_id in _NO_PARENT else span.parent_span_id


def _failed(span: _Span) -> bool:
    return span.status is not None and span.status.lower() in ("error", "status_code_error", "2")


def _nanos(values: Sequence[int | str]) -> pl.Series:
    """Return nanoseconds, null where they are no whole number of 64 bits."""
    if all(type(value) is int for value in values):
        return pl.Series([value if abs(value) < 1 << 62 else None for value in values], dtype=pl.Int64)  # type: ignore[arg-type]
    return pl.Series([str(value) for value in values], dtype=pl.String).cast(pl.Int64, strict=False)


_DECODER: Final = msgspec.json.Decoder(_Span)
_RESOURCE: Final = msgspec.json.Decoder(dict[str, Any])
