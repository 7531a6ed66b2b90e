"""OTLP traces: spans as the official objects read them, from protobuf and JSON alike."""

import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2 as pb
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode

from engine.schemas import SCHEMAS
from ingest import checks
from ingest.identity import Identity
from ingest.registry import format_of
from ingest.times import OUTSIDE
from tests.ingest.formats import otlp
from tests.ingest.formats.otlp import AT_MS, AT_NS, POD, STORE, as_json, key_values, store_resource

NAME = "otlp-spans"
SAMPLES = otlp.samples(NAME)
TRACE, SPAN, PARENT = bytes(range(16)), bytes(range(1, 9)), bytes(range(2, 10))


def request(*spans: pb.Span, resource: Any = None) -> ExportTraceServiceRequest:
    held = pb.ResourceSpans(resource=resource or store_resource(), scope_spans=[pb.ScopeSpans(spans=spans)])
    return ExportTraceServiceRequest(resource_spans=[held])


def span(**more: Any) -> pb.Span:
    usual = {
        "trace_id": TRACE,
        "span_id": SPAN,
        "parent_span_id": PARENT,
        "name": "GET /orders",
        "kind": pb.Span.SPAN_KIND_SERVER,
        "start_time_unix_nano": AT_NS - 2_500_000,
        "end_time_unix_nano": AT_NS,
    }
    return pb.Span(**usual | more)


@pytest.mark.parametrize("check", checks.FORMAT_CHECKS, ids=lambda check: check.__name__)
def test_conforms(check: Callable[..., None]) -> None:
    check(lambda: format_of(NAME, Identity("demo")), SAMPLES)


def test_a_row() -> None:
    (row,) = otlp.rows(NAME, request(span(attributes=key_values(http__route="/orders"))).SerializeToString())
    assert row.pop("identity") > 0
    assert row == {
        "ts_ms": AT_MS,
        "offset": 0,
        "entity": STORE,
        "trace_id": TRACE.hex(),
        "span_id": SPAN.hex(),
        "parent_span_id": PARENT.hex(),
        "operation": "GET /orders",
        "duration_ms": 2.5,
        "error": False,
    }


def test_it_is_the_row_of_the_plain_format() -> None:
    """The same span in the format `spans` is the same row, its identity included."""
    plain = {
        "trace_id": TRACE.hex(),
        "span_id": SPAN.hex(),
        "parent_span_id": PARENT.hex(),
        "name": "POST",
        "kind": "client",
        "start_time_unix_nano": AT_NS - 2_500_000,
        "end_time_unix_nano": AT_NS,
        "status": "error",
        "resource": {"service.name": "store", "k8s.pod.name": POD, "k8s.namespace.name": "shop"},
    }
    failed = pb.Status(code=pb.Status.STATUS_CODE_ERROR, message="refused")
    made = request(span(name="POST", kind=pb.Span.SPAN_KIND_CLIENT, status=failed))
    assert otlp.rows(NAME, made.SerializeToString()) == otlp.rows("spans", json.dumps(plain).encode())


def test_a_root_has_no_parent() -> None:
    made = request(span(parent_span_id=b""), span(parent_span_id=b"\0" * 8, span_id=PARENT))
    assert [row["parent_span_id"] for row in otlp.rows(NAME, made.SerializeToString())] == [None, None]


def test_bad_spans_are_refused_and_the_others_used() -> None:
    made = request(
        span(),
        span(trace_id=b""),
        span(span_id=b"\0" * 8),
        span(trace_id=b"short"),
        span(end_time_unix_nano=0),
        span(start_time_unix_nano=AT_NS + 1),
        span(start_time_unix_nano=0),
    )
    decoded = otlp.decode(NAME, made.SerializeToString(), b"\x0a\x05")
    assert decoded.rows.height == 1
    refused = {(letter.offset, letter.reason): letter.rows for letter in decoded.letters}
    assert refused == {
        (0, "an id is missing"): 3,
        (0, OUTSIDE): 1,
        (0, "ends before it begins"): 2,
        (1, "protobuf: a field is cut off"): 1,
    }


def test_names_are_scrubbed() -> None:
    (row,) = otlp.rows(NAME, request(span(name="login jane@example.com")).SerializeToString())
    assert "jane" not in row["operation"]


def test_ids_in_hex_of_any_case() -> None:
    lower = as_json(request(span())).replace(TRACE.hex().upper().encode(), TRACE.hex().encode())
    upper = as_json(request(span()))
    assert lower != upper
    assert otlp.rows(NAME, lower) == otlp.rows(NAME, upper)
    spoiled = upper.replace(TRACE.hex().upper().encode(), b"xyz")
    assert [letter.reason for letter in otlp.decode(NAME, spoiled).letters] == ["an id is missing"]


def test_what_the_python_sdk_sends() -> None:
    kept = InMemorySpanExporter()
    resource = Resource({"service.name": "store", "k8s.pod.name": POD, "k8s.namespace.name": "shop"})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("lib")
    outer = tracer.start_span("GET /orders", kind=SpanKind.SERVER, start_time=AT_NS - 5_000_000, attributes={"n": 3})
    context = trace.set_span_in_context(outer)
    inner = tracer.start_span("SELECT", context, kind=SpanKind.CLIENT, start_time=AT_NS - 4_000_000)
    inner.set_status(Status(StatusCode.ERROR, "timeout"))
    inner.add_event("exception", {"exception.type": "Timeout"}, AT_NS - 3_500_000)
    inner.end(AT_NS - 3_000_000)
    outer.end(AT_NS)
    rows = otlp.rows(NAME, encode_spans(kept.get_finished_spans()).SerializeToString())
    assert [(row["operation"], row["duration_ms"], row["error"], row["entity"]) for row in rows] == [
        ("client SELECT", 1.0, True, STORE),
        ("GET /orders", 5.0, False, STORE),
    ]
    assert rows[0]["parent_span_id"] == rows[1]["span_id"]


ids = st.sampled_from([b"", b"\0" * 8, b"\0" * 16, SPAN, PARENT, TRACE, TRACE[:5]])
drawn_spans = st.builds(
    pb.Span,
    trace_id=st.just(TRACE) | ids,
    span_id=st.just(SPAN) | ids,
    parent_span_id=ids,
    trace_state=otlp.texts,
    name=otlp.texts,
    kind=st.integers(0, 5),
    start_time_unix_nano=otlp.nanos,
    end_time_unix_nano=otlp.nanos,
    attributes=otlp.attributes,
    events=st.lists(st.builds(pb.Span.Event, name=otlp.texts, attributes=otlp.attributes), max_size=1),
    links=st.lists(st.builds(pb.Span.Link, trace_id=ids), max_size=1),
    status=st.builds(pb.Status, code=st.integers(0, 2), message=otlp.texts),
    flags=st.integers(0, 2**32 - 1),
)
drawn = st.lists(
    st.builds(
        lambda resource, spans: pb.ResourceSpans(resource=resource, scope_spans=[pb.ScopeSpans(spans=spans)]),
        otlp.resources,
        st.lists(drawn_spans, max_size=4),
    ),
    min_size=1,
    max_size=2,
).map(lambda held: ExportTraceServiceRequest(resource_spans=held))


def expected(made: ExportTraceServiceRequest) -> list[tuple[Any, ...]]:
    """Return the rows of a request by the official objects, without entity and identity."""
    spans = [one for held in made.resource_spans for scope in held.scope_spans for one in scope.spans]
    return [row_of(one) for one in spans if is_usable(one)]


def is_usable(one: pb.Span) -> bool:
    if len(one.trace_id) != 16 or len(one.span_id) != 8 or not any(one.trace_id) or not any(one.span_id):
        return False
    ended_ms = one.end_time_unix_nano // 1_000_000
    is_sane = 315_532_800_000 <= ended_ms < 4_102_444_800_000
    return is_sane and 1_000_000 <= one.start_time_unix_nano <= one.end_time_unix_nano


def row_of(one: pb.Span) -> tuple[Any, ...]:
    parent = one.parent_span_id if len(one.parent_span_id) == 8 and any(one.parent_span_id) else None
    return (
        one.end_time_unix_nano // 1_000_000,
        one.trace_id.hex(),
        one.span_id.hex(),
        parent and parent.hex(),
        ("client " if one.kind == 3 else "") + one.name,
        (one.end_time_unix_nano - one.start_time_unix_nano) / 1e6,
        one.status.code == 2,
    )


@settings(max_examples=100, deadline=None)
@given(drawn, drawn)
def test_reads_what_the_official_objects_read(first: Any, second: Any) -> None:
    decoded = otlp.decode(NAME, first.SerializeToString(), second.SerializeToString())
    columns = ("ts_ms", "trace_id", "span_id", "parent_span_id", "operation", "duration_ms", "error")
    assert decoded.rows.select(columns).rows() == [*expected(first), *expected(second)]
    assert decoded.rows.schema == SCHEMAS["spans"]


@settings(max_examples=30, deadline=None)
@given(drawn)
def test_json_and_protobuf_give_the_same(made: Any) -> None:
    binary, text = otlp.decode(NAME, made.SerializeToString()), otlp.decode(NAME, as_json(made))
    assert binary.rows.equals(text.rows)
    assert [(one.reason, one.rows) for one in binary.letters] == [(one.reason, one.rows) for one in text.letters]


@settings(max_examples=30, deadline=None)
@given(drawn, st.data())
def test_spoiled_bytes_never_raise(made: Any, data: st.DataObject) -> None:
    body = bytearray(made.SerializeToString() or b"\x0a")
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    wire = format_of(NAME, Identity("demo"))
    alone = [wire.decode([one], [0], "in").rows.height for one in (bytes(body), SAMPLES[0])]
    together = wire.decode([SAMPLES[0], bytes(body), SAMPLES[0]], [3, 4, 5], "in").rows
    assert [together.filter(pl.col("offset") == offset).height for offset in (4, 5)] == alone
