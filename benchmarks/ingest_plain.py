"""The plain loops that decoding is compared with: orjson, or the official protobuf objects, one message after another.

Each comes twice. *Bare*: the message is parsed, and its time, labels and value are taken out as Python objects; no
entity, no scrubbing, no row. *Same rows*: what `ingest` makes of it is made of it too, by the project's own functions
for one label set, and by a few regexes for one line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from benchmarks.remote_proto import write_request
from engine.errors import SourceError
from ingest.identity import Identity
from ingest.metric_labels import MetricLabels
from ingest.scrub import Scrubber

Loop = Callable[[Sequence[bytes]], list[Any]]

_IDENTITY: Final = Identity("bench")


def bare() -> Mapping[str, Loop]:
    """Return the loops that only parse, by the format's short name; raise SourceError when a package is missing."""
    return {
        "adapter_json": _adapter(_taken),
        "remote_write": _remote_write(_taken),
        "fluentbit_json": _fluentbit(_line_taken),
        "otlp_metrics": _otlp(_taken),
    }


def same_rows() -> Mapping[str, Loop]:
    """Return the loops that make the same rows; raise SourceError when a package is missing."""
    measure = _measuring()
    return {
        "adapter_json": _adapter(measure),
        "remote_write": _remote_write(measure),
        "fluentbit_json": _fluentbit(_reading()),
        "otlp_metrics": _otlp(measure),
    }


Take = Callable[[Any, Mapping[str, str], float], Any]


def _taken(ts_ms: Any, labels: Mapping[str, str], value: float) -> Any:
    return ts_ms, labels, value


def _measuring() -> Take:
    labels_of = MetricLabels(_IDENTITY, Scrubber())

    def measure(ts_ms: Any, labels: Mapping[str, str], value: float) -> Any:
        series = labels_of.measured(labels)
        return ts_ms, series.entity, series.indicator, series.instance, series.form, value, series.identity

    return measure


def _adapter(take: Take) -> Loop:
    loads = _orjson()

    def loop(bodies: Sequence[bytes]) -> list[Any]:
        rows = []
        for body in bodies:
            sample = loads(body)
            ts_ms = int(datetime.fromisoformat(sample["timestamp"]).timestamp() * 1_000)
            rows.append(take(ts_ms, sample["labels"], float(sample["value"])))
        return rows

    return loop


def _remote_write(take: Take) -> Loop:
    from cramjam import snappy

    request = write_request()

    def loop(bodies: Sequence[bytes]) -> list[Any]:
        rows = []
        for body in bodies:
            for series in request.FromString(bytes(snappy.decompress_raw(body))).timeseries:
                labels = {label.name: label.value for label in series.labels}
                rows += [take(sample.timestamp, labels, sample.value) for sample in series.samples]
        return rows

    return loop


def _otlp(take: Take) -> Loop:
    try:
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    except ImportError as error:
        raise SourceError("bench ingest: opentelemetry-proto is missing; install the extra `dev`") from error

    def loop(bodies: Sequence[bytes]) -> list[Any]:
        rows: list[Any] = []
        for body in bodies:
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                common = _attributes(resource.resource.attributes)
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        rows += _points(metric, common, take)
        return rows

    return loop


def _points(metric: Any, common: Mapping[str, str], take: Take) -> list[Any]:
    kind = metric.WhichOneof("data")
    rows = []
    for point in getattr(metric, kind).data_points:
        labels = {**common, **_attributes(point.attributes), "__name__": metric.name}
        time_ms = point.time_unix_nano // 1_000_000
        if kind == "histogram":
            rows += [take(time_ms, labels, value) for value in (point.count, point.sum, *point.bucket_counts)]
        else:
            rows.append(take(time_ms, labels, getattr(point, point.WhichOneof("value"))))
    return rows


def _attributes(attributes: Any) -> dict[str, str]:
    return {one.key: str(getattr(one.value, one.value.WhichOneof("value"))) for one in attributes}


def _fluentbit(take: Callable[[float, Mapping[str, Any], str], Any]) -> Loop:
    loads = _orjson()

    def loop(bodies: Sequence[bytes]) -> list[Any]:
        rows = []
        for body in bodies:
            record = loads(body)
            rows.append(take(record["@timestamp"], record.get("kubernetes") or record, record["log"]))
        return rows

    return loop


def _line_taken(time_s: float, sender: Mapping[str, Any], line: str) -> Any:
    return int(time_s * 1_000), sender.get("pod_name"), sender.get("namespace_name"), line


def _reading() -> Callable[[float, Mapping[str, Any], str], Any]:
    """Return what makes a row of a line: entity, scrubbed text, severity and signature, by one's usual regexes."""
    scrubber = Scrubber()

    def read(time_s: float, sender: Mapping[str, Any], line: str) -> Any:
        if "pod_name" in sender:
            entity = _IDENTITY.of_pod(sender["pod_name"], sender["namespace_name"], sender["labels"])
        else:
            entity = _IDENTITY.of_labels({key: sender[key] for key in ("host", "service")})
        body = scrubber.text(line)
        level = _LEVEL.search(body, 0, 200)
        signature = body
        for pattern in _VARIABLES:
            signature = pattern.sub("<*>", signature)
        return int(time_s * 1_000), entity, level[0].lower() if level else "info", body, signature

    return read


_LEVEL: Final = re.compile(r"(?i)\b(?:trace|debug|info|notice|warn(?:ing)?|err(?:or)?|critical|fatal|panic)\b")
_VARIABLES: Final = (
    re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"),
    re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^\s\"'<>]+"),
    re.compile(r"(?<![A-Za-z0-9])/(?:[\w.\-]+/)+[\w.\-]*"),
    re.compile(r"[A-Za-z0-9]*[0-9][A-Za-z0-9]*(?:[\-+.:,/_][A-Za-z0-9]*[0-9][A-Za-z0-9]*)*"),
)


def _orjson() -> Callable[[bytes], Any]:
    try:
        import orjson
    except ImportError as error:
        raise SourceError("bench ingest: orjson is missing; install the extra `dev`") from error
    return orjson.loads
