"""Real senders of OTLP: all that the Python SDK and the Collector send is a Record of its sender, and nothing twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import Consumer

from ingest.identity import Identity
from ingest.registry import format_of
from opsbrain.doors import build_doors
from opsbrain.http_guard import access_of
from opsbrain.journal import Journal
from opsbrain.journal_reader import JournalReader, Messages
from opsbrain.keep import JournalKeep
from opsbrain.settings import Http, Settings
from opsbrain.tally import Tally
from tests.parts.processes import eventually

LOGS, METRICS, SPANS = FORMATS = ("otlp-logs", "otlp-metrics", "otlp-spans")
TOPICS = {LOGS: "otlp_logs", METRICS: "otlp_metrics", SPANS: "otlp_spans"}
POD = "store-77tk444p6s-2jpfw"
STORE = "demo/service/shop/store"
RESOURCE = {"service.name": "store", "k8s.pod.name": POD, "k8s.namespace.name": "shop"}
ITEMS = 120


@dataclass
class Door:
    """Receivers over journals on disk."""

    journals: dict[str, Journal]
    http: str
    grpc: str

    def rows(self, format: str) -> pl.DataFrame:
        """Return the Records of all that was kept."""
        reader, bodies = JournalReader(self.journals[format], 0), []
        while (entry := reader.read()) is not None:
            assert isinstance(entry, Messages)
            bodies += entry.bodies
        return records(format, bodies)


@pytest.fixture
def open_door(tmp_path: Path) -> Iterator[Callable[[str], Door]]:
    """Return what starts receivers, as `opsbrain up` does; they are stopped at the end."""
    with ExitStack() as stack:

        def start(name: str) -> Door:
            settings = Settings(http=Http(port=0))
            journals = {format: Journal(tmp_path / name / format) for format in FORMATS}
            keep = JournalKeep(journals, lambda: time.time_ns() // 1_000_000)
            access = access_of(settings.http, settings.receivers)
            servers, _ = build_doors(settings, access, keep, FORMATS, [], Tally(), stack)
            servers.start()
            stack.callback(servers.stop)
            return Door(journals, servers.address, f"127.0.0.1:{servers.grpc_port}")

        yield start


def records(format: str, bodies: list[bytes]) -> pl.DataFrame:
    decoded = format_of(format, Identity("demo")).decode(bodies, range(len(bodies)), format)
    assert not decoded.letters
    assert not decoded.dropped
    return decoded.rows


def send(exporters: dict[str, Any]) -> None:
    """Send ITEMS log records, spans, and points of one counter and one histogram by the SDK."""
    send_logs(exporters[LOGS])
    send_metrics(exporters[METRICS])
    send_spans(exporters[SPANS])


def send_logs(exporter: Any) -> None:
    from opentelemetry._logs import LogRecord, SeverityNumber
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    provider = LoggerProvider(resource=resource(), shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter, max_export_batch_size=50))
    for number in range(ITEMS):
        record = LogRecord(
            timestamp=time.time_ns(), severity_number=SeverityNumber.ERROR, body=f"item-{number} is lost"
        )
        provider.get_logger("lib").emit(record)
    provider.shutdown()


def send_metrics(exporter: Any) -> None:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider(metric_readers=[reader], resource=resource(), shutdown_on_exit=False)
    meter = provider.get_meter("lib")
    orders = meter.create_counter("orders")
    latency = meter.create_histogram("latency", explicit_bucket_boundaries_advisory=[1, 10])
    for number in range(ITEMS):
        orders.add(number, {"item": number})
        latency.record(5)
    provider.shutdown()


def send_spans(exporter: Any) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=resource(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=50))
    for number in range(ITEMS):
        provider.get_tracer("lib").start_span(f"item-{number}").end()
    provider.shutdown()


def resource() -> Any:
    from opentelemetry.sdk.resources import Resource

    return Resource(RESOURCE)


def over_http(url: str) -> dict[str, Any]:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return {
        LOGS: OTLPLogExporter(f"{url}/v1/logs", compression=Compression.Gzip),
        METRICS: OTLPMetricExporter(f"{url}/v1/metrics"),
        SPANS: OTLPSpanExporter(f"{url}/v1/traces", compression=Compression.Gzip),
    }


def over_grpc(address: str) -> dict[str, Any]:
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    return {
        LOGS: OTLPLogExporter(address, insecure=True),
        METRICS: OTLPMetricExporter(address, insecure=True),
        SPANS: OTLPSpanExporter(address, insecure=True),
    }


def everything_is_there_once(rows: Callable[[str], pl.DataFrame]) -> None:
    logs, metrics, spans = (rows(format) for format in FORMATS)
    for frame in (logs, metrics, spans):
        assert frame["entity"].unique().to_list() == [STORE]
    assert Counter(logs["body"]) == Counter(f"item-{number} is lost" for number in range(ITEMS))
    assert logs["severity"].unique().to_list() == ["error"]
    assert Counter(spans["operation"]) == Counter(f"item-{number}" for number in range(ITEMS))
    assert spans["identity"].n_unique() == spans.height
    assert dict(metrics.select("indicator", "value").iter_rows()) == {
        **{f'orders{{item="{number}"}}': float(number) for number in range(ITEMS)},
        "latency_count": float(ITEMS),
        "latency_sum": 5.0 * ITEMS,
        'latency_bucket{le="1"}': 0.0,
        'latency_bucket{le="10"}': float(ITEMS),
        'latency_bucket{le="+Inf"}': float(ITEMS),
    }
    assert metrics["form"].unique().to_list() == ["counter"]
    assert metrics["identity"].n_unique() == metrics.height == ITEMS + 5


def arrived(rows: Callable[[str], pl.DataFrame]) -> Callable[[], bool]:
    wanted = {LOGS: ITEMS, METRICS: ITEMS + 5, SPANS: ITEMS}
    return lambda: all(rows(format).height >= count for format, count in wanted.items())


def test_the_python_sdk_over_http(open_door: Callable[[str], Door]) -> None:
    door = open_door("http")
    send(over_http(door.http))
    everything_is_there_once(door.rows)


def test_the_python_sdk_over_grpc(open_door: Callable[[str], Door]) -> None:
    door = open_door("grpc")
    send(over_grpc(door.grpc))
    everything_is_there_once(door.rows)


@pytest.mark.parametrize("encoding", ["proto", "json"])
def test_the_collector_by_otlp(collector, open_door: Callable[[str], Door], encoding: str) -> None:
    http, grpc = open_door("http"), open_door("grpc")
    exporters = {
        "otlphttp": {"endpoint": http.http, "encoding": encoding},
        "otlp": {"endpoint": grpc.grpc, "tls": {"insecure": True}},
    }
    with collector(config_of(exporters)) as one:
        send(over_http(one.http))
        for door in (http, grpc):
            assert eventually(arrived(door.rows))
    for door in (http, grpc):
        everything_is_there_once(door.rows)


@pytest.mark.parametrize("encoding", ["otlp_proto", "otlp_json"])
def test_the_collector_by_kafka(collector, broker, encoding: str) -> None:
    topics = {format: f"{topic}.{encoding}" for format, topic in TOPICS.items()}
    usual = {"brokers": [broker.bootstrap], "protocol_version": "2.1.0"}
    signals = {LOGS: "logs", METRICS: "metrics", SPANS: "traces"}
    ways = {signals[format]: {"topic": topic, "encoding": encoding} for format, topic in topics.items()}
    with collector(config_of({"kafka": usual | ways})) as one, Reading(broker.bootstrap, topics) as reading:
        send(over_grpc(one.grpc))
        assert eventually(arrived(reading.rows), timeout_s=60)
    everything_is_there_once(reading.rows)


def config_of(exporters: dict[str, Any]) -> dict[str, Any]:
    signals = ("logs", "metrics", "traces")
    pipeline = {"processors": ["batch"], "exporters": list(exporters)}
    return {
        "exporters": exporters,
        "processors": {"batch": {"timeout": "50ms"}},
        "service": {"pipelines": dict.fromkeys(signals, pipeline)},
    }


class Reading:
    """Reads topics from their beginnings."""

    def __init__(self, bootstrap: str, topics: dict[str, str]) -> None:
        self._bodies: dict[str, list[bytes]] = {topic: [] for topic in topics.values()}
        self._topics = topics
        group = f"otlp.{time.time_ns()}"
        usual = {
            "bootstrap.servers": bootstrap,
            "auto.offset.reset": "earliest",
            "topic.metadata.refresh.interval.ms": 500,
        }
        self._consumer = Consumer({**usual, "group.id": group, "allow.auto.create.topics": True})

    def __enter__(self) -> Reading:
        self._consumer.subscribe(list(self._bodies))
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def rows(self, format: str) -> pl.DataFrame:
        """Return the Records of all that has come."""
        while True:
            try:
                messages = self._consumer.consume(500, 0.2)
            except RuntimeError:  # it is closed
                break
            for message in messages:
                if message.error() is None:
                    self._bodies[message.topic()].append(message.value())
            if not messages:
                break
        return records(format, self._bodies[self._topics[format]])
