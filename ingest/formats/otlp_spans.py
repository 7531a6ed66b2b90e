"""OTLP traces: one `ExportTraceServiceRequest` (`TracesData`) a message, protobuf or JSON; over HTTP, gRPC or Kafka.

A row is as of the format `spans`: its time the span's end, its operation the span's name, with `client ` before it
where the span is a caller's side of a call. Its entity is what the resource names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import polars as pl
from xxhash import xxh3_64_intdigest

from engine.ports import Decoded
from engine.schemas import Kind, conform
from ingest.formats.spans import CLIENT_PREFIX
from ingest.identity import Identity
from ingest.otlp_numbers import NOWHERE, nanos_to_ms, words_at
from ingest.otlp_requests import Request, items_of, opened, read_each
from ingest.otlp_resources import Resources
from ingest.protobuf import fields, fixed64_key, length_key, text, varint_key
from ingest.refused import Refused
from ingest.scrub import Scrubber
from ingest.times import OUTSIDE, sane

_TRACE: Final = length_key(1)
_SPAN: Final = length_key(2)
_PARENT: Final = length_key(4)
_NAME: Final = length_key(5)
_KIND: Final = varint_key(6)
_START: Final = fixed64_key(7)
_END: Final = fixed64_key(8)
_ATTRIBUTE: Final = length_key(9)
_STATUS: Final = length_key(15)
_CODE: Final = varint_key(3)
_CLIENT: Final = 3
_ERROR: Final = 2

_Row = tuple[int, str, bytes, bytes, bytes, str, int, int, bool]
"""Position of its message, entity, ids of trace, span and parent, operation, places of start and end, error."""


@dataclass(frozen=True, slots=True)
class OtlpSpans:
    """Decodes spans; resources are looked at once each."""

    name: ClassVar[str] = "otlp-spans"
    kind: ClassVar[Kind] = "spans"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)
    _resources: Resources = field(default_factory=Resources, compare=False, repr=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row a span; refuse messages that are no request, and of others the spans that are none."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        data, requests = opened(bodies, "spans", refused)
        rows: list[_Row] = []

        def read(request: Request) -> None:
            for items in items_of(data, request):
                entity = self._resources.entity(items.resource, self.identity)
                rows.extend([_row(data, a, b, request.position, entity) for a, b in items.bounds])

        read_each(requests, refused, read, rows)
        frame = self._frame(data, rows)
        frame = refused.rows(frame, pl.col("trace_id").is_null() | pl.col("span_id").is_null(), "an id is missing")
        frame = refused.rows(frame, pl.col("ts_ms").is_null(), OUTSIDE)
        frame = refused.rows(frame, pl.col("backwards"), "ends before it begins")
        frame = frame.with_columns(refused.offsets_of(frame["at"]), _identity(frame))
        return Decoded(conform("spans", frame), refused.letters())

    def _frame(self, data: bytes, rows: Sequence[_Row]) -> pl.DataFrame:
        at, entity, trace, span, parent, operation, start, end, error = zip(*rows, strict=True) if rows else [()] * 9
        start_ns, end_ns = words_at(data, start), words_at(data, end)
        return pl.DataFrame(
            {
                "at": pl.Series(at, dtype=pl.Int64),
                "ts_ms": sane(pl.Series(nanos_to_ms(end_ns))),
                "backwards": (nanos_to_ms(start_ns) == 0) | (start_ns > end_ns),
                "duration_ms": (end_ns - start_ns) / 1e6,  # of those that are not backwards
                "entity": pl.Series(entity, dtype=pl.String),
                "trace_id": _hex(trace, 16),
                "span_id": _hex(span, 8),
                "parent_span_id": _hex(parent, 8),
                "operation": self.scrubber.names(pl.Series(operation, dtype=pl.String)),
                "error": pl.Series(error, dtype=pl.Boolean),
            }
        )


def _row(data: bytes, start: int, end: int, position: int, entity: str) -> _Row:
    trace = span = parent = b""
    name, kind, code = "", 0, 0
    start_at = end_at = NOWHERE
    for key, a, b in fields(data, start, end):
        if key == _ATTRIBUTE:  # first, since most fields are
            continue
        if key == _TRACE:
            trace = data[a:b]
        elif key == _SPAN:
            span = data[a:b]
        elif key == _PARENT:
            parent = data[a:b]
        elif key == _NAME:
            name = text(data, a, b)
        elif key == _KIND:
            kind = a
        elif key == _START:
            start_at = a
        elif key == _END:
            end_at = a
        elif key == _STATUS:
            code = next((x for field, x, _ in fields(data, a, b) if field == _CODE), code)
    operation = CLIENT_PREFIX + name if kind == _CLIENT else name
    return position, entity, trace, span, parent, operation, start_at, end_at, code == _ERROR


def _hex(ids: Sequence[bytes], size: int) -> pl.Series:
    """Return ids in hex, null where there is none: of another size, or nothing but zeros."""
    texts = pl.Series(ids, dtype=pl.Binary).bin.encode("hex")
    return texts.set((texts.str.len_bytes() != 2 * size) | (texts == "00" * size), None)


def _identity(frame: pl.DataFrame) -> pl.Series:
    """Return the column `identity` of spans, as `engine.ids.identity_of` makes it of their ids."""
    ids = frame.select(pl.concat_str("trace_id", "span_id", separator="\x1f").cast(pl.Binary)).to_series()
    return pl.Series("identity", [xxh3_64_intdigest(one) or 1 for one in ids.to_list()], dtype=pl.UInt64)
