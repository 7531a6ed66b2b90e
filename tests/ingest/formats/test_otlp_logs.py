"""OTLP logs: records as the official objects read them, from protobuf and JSON alike."""

import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1 import logs_pb2 as pb
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource as SdkResource

from engine.schemas import SCHEMAS
from ingest import checks
from ingest.identity import Identity
from ingest.otlp_requests import NOTHING
from ingest.otlp_values import DEEPER, MAX_DEPTH
from ingest.registry import format_of
from ingest.times import OUTSIDE
from tests.ingest.formats import otlp
from tests.ingest.formats.otlp import AT_MS, AT_NS, POD, STORE, any_value, as_json, key_values, store_resource

NAME = "otlp-logs"
SAMPLES = otlp.samples(NAME)


def request(*records: pb.LogRecord, resource: Any = None) -> ExportLogsServiceRequest:
    held = pb.ResourceLogs(resource=resource or store_resource(), scope_logs=[pb.ScopeLogs(log_records=records)])
    return ExportLogsServiceRequest(resource_logs=[held])


def record(body: Any = "text", said: dict[str, Any] | None = None, **more: Any) -> pb.LogRecord:
    usual = {"time_unix_nano": AT_NS, "body": any_value(body), "attributes": key_values(**said or {})}
    return pb.LogRecord(**usual | more)


def row(made: ExportLogsServiceRequest) -> dict[str, Any]:
    (found,) = otlp.rows(NAME, made.SerializeToString())
    return found


@pytest.mark.parametrize("check", checks.FORMAT_CHECKS, ids=lambda check: check.__name__)
def test_conforms(check: Callable[..., None]) -> None:
    check(lambda: format_of(NAME, Identity("demo")), SAMPLES)


def test_a_row() -> None:
    assert row(request(record("order 5 failed", severity_number=17))) == {
        "ts_ms": AT_MS,
        "offset": 0,
        "entity": STORE,
        "severity": "error",
        "body": "order 5 failed",
        "signature": "order <*> failed",
        "identity": 0,
    }


@pytest.mark.parametrize(
    ("number", "level", "text", "severity"),
    [
        (1, "", "", "trace"),
        (8, "ERROR", "", "debug"),
        (9, "", "ERROR", "info"),
        (16, "", "", "warn"),
        (21, "", "", "fatal"),
        (24, "", "", "fatal"),
        (25, "Warning", "", "warn"),
        (0, "Information", "ERROR", "info"),
        (0, "", "ERROR", "error"),
        (0, "unheard of", "", "info"),
    ],
)
def test_severity(number: int, level: str, text: str, severity: str) -> None:
    found = row(request(record(f"{text} x", severity_number=number, severity_text=level)))  # type: ignore[arg-type]
    assert found["severity"] == severity


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("plain", "plain"),
        (True, "true"),
        (-5, "-5"),
        (1.5, "1.5"),
        ([1, "a", None], '[1,"a",null]'),
        ({"b": {"d": 1, "c": 2.0}, "a": b"\x00\xff"}, '{"a":"AP8=","b":{"c":2.0,"d":1}}'),
        (b"\x00\xff", "AP8="),
    ],
)
def test_body_is_canonical_text(body: Any, text: str) -> None:
    made = request(record(body))
    assert row(made)["body"] == text
    assert otlp.rows(NAME, as_json(made))[0]["body"] == text


def test_nesting_ends_somewhere() -> None:
    body: Any = "deep"
    for _ in range(MAX_DEPTH + 8):
        body = [body]
    for made in (request(record(body)).SerializeToString(), as_json(request(record(body)))):
        (found,) = otlp.rows(NAME, made)
        assert found["body"] == "[" * MAX_DEPTH + f'"{DEEPER}"' + "]" * MAX_DEPTH
    bottomless = b'{"resourceLogs":' + b'[{"arrayValue":' * 100_000
    assert [letter.reason for letter in otlp.decode(NAME, bottomless).letters] == ["nested too deeply"]


def test_without_a_body_the_attributes_speak() -> None:
    said = {"exception__type": "OutOfMemoryError", "exception__message": "Java heap space"}
    assert row(request(record(None, said)))["body"] == "OutOfMemoryError: Java heap space"
    assert row(request(record(None, event_name="device.boot")))["body"] == "device.boot"
    assert row(request(record("words", said)))["body"] == "words"


def test_time() -> None:
    observed = record(time_unix_nano=0, observed_time_unix_nano=AT_NS + 7_000_000)
    assert row(request(observed))["ts_ms"] == AT_MS + 7
    timeless = request(record(time_unix_nano=0)).SerializeToString()
    assert [letter.reason for letter in otlp.decode(NAME, timeless).letters] == [OUTSIDE]
    assert otlp.decode(NAME, timeless, received_ms=(AT_MS + 9,)).rows["ts_ms"].to_list() == [AT_MS + 9]


def test_bad_records_are_refused_and_the_others_used() -> None:
    made = request(record("one"), record(None), record("three", time_unix_nano=5), record("four"))
    decoded = otlp.decode(NAME, made.SerializeToString())
    assert decoded.rows["body"].to_list() == ["one", "four"]
    assert [(one.reason, one.rows) for one in decoded.letters] == [("a record has no text", 1), (OUTSIDE, 1)]


def test_entity_of_records_whose_resource_says_nothing() -> None:
    """As the Collector's `filelog` receiver writes them where nothing moves attributes to the resource."""
    said = {"k8s__pod__name": POD, "k8s__namespace__name": "shop", "host": "elsewhere"}
    assert row(request(record("x", said), resource=Resource()))["entity"] == STORE
    hosted = Resource(attributes=key_values(host__name="n1"))
    assert row(request(record("x", said), resource=hosted))["entity"] == STORE
    assert row(request(record("x", {"host": "n1"}), resource=Resource()))["entity"] == "demo/node/-/n1"
    assert row(request(record("x", {"service": "other"})))["entity"] == STORE


def test_bodies_are_scrubbed() -> None:
    assert "hunter2" not in row(request(record("login password=hunter2")))["body"]


def test_what_the_python_sdk_sends() -> None:
    kept = InMemoryLogRecordExporter()
    resource = SdkResource({"service.name": "store", "k8s.pod.name": POD, "k8s.namespace.name": "shop"})
    provider = LoggerProvider(resource=resource)
    provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
    logger = provider.get_logger("lib")
    logger.emit(LogRecord(timestamp=AT_NS, severity_number=SeverityNumber.WARN, body="disk is 91% full"))
    logger.emit(LogRecord(timestamp=AT_NS, body={"msg": "taken", "ids": [1, 2]}))
    rows = otlp.rows(NAME, encode_logs(kept.get_finished_logs()).SerializeToString())
    assert [(one["entity"], one["severity"], one["body"]) for one in rows] == [
        (STORE, "warn", "disk is 91% full"),
        (STORE, "info", '{"ids":[1,2],"msg":"taken"}'),
    ]


def test_enums_by_name() -> None:
    written = json.loads(as_json(request(record())))
    (held,) = written["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    for severity in ("SEVERITY_NUMBER_ERROR3", 19, "19"):
        held["severityNumber"] = severity
        assert otlp.rows(NAME, json.dumps(written).encode())[0]["severity"] == "error"


drawn_records = st.builds(
    lambda said, body, **more: pb.LogRecord(attributes=said, body=any_value(body), **more),
    otlp.attributes,
    otlp.values,
    time_unix_nano=otlp.nanos,
    observed_time_unix_nano=otlp.nanos,
    severity_number=st.integers(0, 24),
    severity_text=otlp.texts,
    event_name=otlp.texts,
    trace_id=st.binary(max_size=16),
    flags=st.integers(0, 2**32 - 1),
)
drawn = st.lists(
    st.builds(
        lambda resource, records: pb.ResourceLogs(resource=resource, scope_logs=[pb.ScopeLogs(log_records=records)]),
        otlp.resources,
        st.lists(drawn_records, max_size=4),
    ),
    min_size=1,
    max_size=2,
).map(lambda held: ExportLogsServiceRequest(resource_logs=held))


@settings(max_examples=100, deadline=None)
@given(drawn)
def test_every_record_is_a_row_or_refused(made: Any) -> None:
    decoded = otlp.decode(NAME, made.SerializeToString())
    records = [one for held in made.resource_logs for scope in held.scope_logs for one in scope.log_records]
    refused = sum(letter.rows for letter in decoded.letters if letter.reason != NOTHING)
    assert decoded.rows.height + refused == len(records)
    assert any(letter.reason == NOTHING for letter in decoded.letters) == (not records)
    usable = [one for one in records if is_usable(one)]
    assert decoded.rows["ts_ms"].to_list() == [time_of(one) for one in usable]
    assert decoded.rows.schema == SCHEMAS["logs"]


def time_of(one: pb.LogRecord) -> int:
    return (one.time_unix_nano or one.observed_time_unix_nano) // 1_000_000


def is_usable(one: pb.LogRecord) -> bool:
    empty = one.body.WhichOneof("value") is None or one.body in (any_value(""), any_value(b""))
    return (not empty or bool(one.event_name)) and 315_532_800_000 <= time_of(one) < 4_102_444_800_000


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
