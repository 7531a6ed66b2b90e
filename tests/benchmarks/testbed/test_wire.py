"""Logs, samples, events and spans have the shapes that the named shippers send."""

import json
from pathlib import Path

import pytest

from benchmarks.testbed import exposition, wire
from benchmarks.testbed.events import EventLog, Involved
from benchmarks.testbed.exposition import Sample
from benchmarks.testbed.naming import Names
from benchmarks.testbed.spans import SpanContext, Tracer, parse_header

AT_NS = 1_755_856_800_123_456_000
POD = wire.PodMeta(
    "payments", "shop", "payments-6c9f7d8b5d-x2x9k", "uid", "10.244.1.7", "n1", {"app": "payments"}, "image:1", "ab"
)


def test_a_log_line_is_what_fluent_bit_sends() -> None:
    record = json.loads(wire.body(wire.log_record(AT_NS, "stderr", "it failed", POD)))
    assert record["@timestamp"] == 1755856800.123456
    assert (record["stream"], record["log"]) == ("stderr", "it failed")
    assert record["kubernetes"]["pod_name"] == "payments-6c9f7d8b5d-x2x9k"
    assert record["kubernetes"]["namespace_name"] == "shop"


@pytest.mark.parametrize(("value", "text"), [(3.0, "3"), (0.25, "0.25"), (23908352.0, "23908352")])
def test_a_sample_is_what_the_adapter_sends(value: float, text: str) -> None:
    sample = wire.sample(AT_NS, "up", value, {"job": "x"})
    assert sample == {
        "timestamp": "2025-08-22T10:00:00Z",
        "value": text,
        "name": "up",
        "labels": {"__name__": "up", "job": "x"},
    }


def test_what_a_pod_renders_the_scraper_reads() -> None:
    samples = [Sample("up", {}, 1.0), Sample("requests_total", {"route": "POST /charge", "code": "200"}, 0.125)]
    assert list(exposition.parse("# HELP up\n" + exposition.render(samples))) == samples


def test_an_event_that_is_repeated_counts_up_and_keeps_its_identity() -> None:
    log = EventLog(Names(1), "demo")
    pod = Involved("v1", "Pod", "shop", "payments-6c9f7d8b5d-x2x9k", "uid", {"app": "payments"})
    first = log.event(AT_NS, pod, "Unhealthy", "probe failed", "kubelet", "n1", "Warning")
    again = log.event(AT_NS + 5 * 10**9, pod, "Unhealthy", "probe failed", "kubelet", "n1", "Warning")
    assert (first["count"], again["count"]) == (1, 2)
    assert again["metadata"] == first["metadata"]
    assert (again["firstTimestamp"], again["lastTimestamp"]) == ("2025-08-22T10:00:00Z", "2025-08-22T10:00:05Z")


def test_a_trace_crosses_a_service_by_its_header(tmp_path: Path) -> None:
    tracer = Tracer(tmp_path / "spans", "0123456789ab", {"service.name": "orders"})
    root = tracer.new_trace()
    server = tracer.child(root)
    assert parse_header(server.header()) == server
    tracer.finish(server, root, "server", "POST /orders", AT_NS, AT_NS + 1, ok=False)
    tracer.close()
    span = json.loads((tmp_path / "spans").read_text())
    assert span["parent_span_id"] is None
    assert (span["trace_id"], span["status"], span["kind"]) == (root.trace_id, "error", "server")


@pytest.mark.parametrize("text", ["", "00-abc-def-01", "nonsense"])
def test_a_malformed_header_begins_a_new_trace(text: str) -> None:
    assert parse_header(text) is None


def test_names_come_from_the_seed() -> None:
    assert Names(3).uid() == Names(3).uid() != Names(4).uid()
    assert parse_header(SpanContext("a" * 32, "b" * 16).header()) == SpanContext("a" * 32, "b" * 16)
