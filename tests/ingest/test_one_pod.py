"""One pod, told of by logs, metrics, traces, events, objects and costs as their shippers send them, is one entity."""

import json

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ingest.identity import Identity
from ingest.registry import format_of

POD, NAMESPACE, STORE = "store-77tk444p6s-2jpfw", "shop", "demo/service/shop/store"
AT_S = 1_755_856_800
OWNERS = [{"kind": "ReplicaSet", "name": "store-77tk444p6s", "controller": True}]
RESOURCE = {"service.name": "store", "k8s.pod.name": POD, "k8s.namespace.name": NAMESPACE, "k8s.node.name": "n1"}


def fluentbit() -> bytes:
    meta = {
        "pod_name": POD,
        "namespace_name": NAMESPACE,
        "labels": {"app": "storefront", "pod-template-hash": "77tk444p6s"},  # a label that says something else
        "host": "n1",
        "container_name": "server",
    }
    return json.dumps({"@timestamp": AT_S + 0.25, "log": "GET / 200", "kubernetes": meta}).encode()


def fluentbit_without_filter() -> bytes:
    path = f"/var/log/containers/{POD}_{NAMESPACE}_server-0a1b2c.log"
    return json.dumps({"date": AT_S + 0.25, "log": "GET / 200", "filename": path}).encode()


def adapter() -> bytes:
    labels = {"__name__": "up", "job": "store", "pod": POD, "namespace": NAMESPACE, "instance": "10.1.0.7:8080"}
    return json.dumps({"timestamp": "2025-08-22T10:00:00Z", "value": "1", "name": "up", "labels": labels}).encode()


def query_range() -> bytes:
    series = {"metric": {"__name__": "up", "pod": POD, "namespace": NAMESPACE}, "values": [[AT_S, "1"]]}
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": [series]}}).encode()


def resource(one: object) -> object:
    for key, value in RESOURCE.items():
        one.resource.attributes.add(key=key).value.string_value = value  # type: ignore[attr-defined]
    return one


def otlp_logs() -> bytes:
    request = ExportLogsServiceRequest()
    record = resource(request.resource_logs.add()).scope_logs.add().log_records.add(time_unix_nano=AT_S * 10**9)  # type: ignore[attr-defined]
    record.body.string_value = "GET / 200"
    return request.SerializeToString()


def otlp_metrics() -> bytes:
    request = ExportMetricsServiceRequest()
    metric = resource(request.resource_metrics.add()).scope_metrics.add().metrics.add(name="up")  # type: ignore[attr-defined]
    metric.gauge.data_points.add(time_unix_nano=AT_S * 10**9, as_double=1.0)
    return request.SerializeToString()


def otlp_spans() -> bytes:
    request = ExportTraceServiceRequest()
    resource(request.resource_spans.add()).scope_spans.add().spans.add(  # type: ignore[attr-defined]
        trace_id=b"1" * 16,
        span_id=b"2" * 8,
        name="GET /",
        start_time_unix_nano=(AT_S - 1) * 10**9,
        end_time_unix_nano=AT_S * 10**9,
    )
    return request.SerializeToString()


def exporter() -> bytes:
    involved = {
        "kind": "Pod",
        "namespace": NAMESPACE,
        "name": POD,
        "labels": {"app": "storefront"},
        "ownerReferences": OWNERS,
    }
    event = {
        "metadata": {"name": "p.17", "namespace": NAMESPACE, "uid": "u-1"},
        "reason": "BackOff",
        "message": "Back-off restarting",
        "lastTimestamp": "2025-08-22T10:00:00Z",
        "count": 5,
        "type": "Warning",
        "involvedObject": involved | {"ownerReferences": OWNERS},
    }
    return json.dumps(event).encode()


def core_event() -> bytes:
    event = json.loads(exporter())
    event["involvedObject"] = {
        "kind": "Pod",
        "namespace": NAMESPACE,
        "name": POD,
        "uid": "p-1",
    }  # the API knows no more
    return json.dumps({"type": "ADDED", "object": {"apiVersion": "v1", "kind": "Event"} | event}).encode()


def watched_object() -> bytes:
    metadata = {"name": POD, "namespace": NAMESPACE, "uid": "p-1", "resourceVersion": "7", "ownerReferences": OWNERS}
    return json.dumps(
        {"observed_at": "2025-08-22T10:00:00Z", "object": {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}}
    ).encode()


def opencost() -> bytes:
    properties = {
        "cluster": "c",
        "namespace": NAMESPACE,
        "pod": POD,
        "controller": "store",
        "controllerKind": "deployment",
    }
    window = {"start": "2025-08-21T00:00:00Z", "end": "2025-08-22T00:00:00Z"}
    allocation = {"name": POD, "properties": properties, "window": window, "totalCost": 1.6}
    return json.dumps({"code": 200, "data": [{POD: allocation}]}).encode()


def falco() -> bytes:
    fields = {"k8s.ns.name": NAMESPACE, "k8s.pod.name": POD}
    told = {"rule": "Terminal shell in container", "priority": "Critical", "output": "a shell", "hostname": "n1"}
    return json.dumps(told | {"time": "2025-08-22T10:00:00.5Z", "source": "syscall", "output_fields": fields}).encode()


def alertmanager() -> bytes:
    labels = {"alertname": "KubePodCrashLooping", "namespace": NAMESPACE, "pod": POD, "job": "kube-state-metrics"}
    alert = {"status": "firing", "labels": labels, "annotations": {}, "startsAt": "2025-08-22T10:00:00Z"}
    alert |= {"endsAt": "0001-01-01T00:00:00Z", "fingerprint": "f"}
    return json.dumps(
        {"version": "4", "groupKey": "g", "status": "firing", "receiver": "r", "alerts": [alert]}
    ).encode()


TOLD = [
    ("fluentbit", fluentbit),
    ("fluentbit", fluentbit_without_filter),
    ("prometheus-adapter", adapter),
    ("prometheus-query-range", query_range),
    ("otlp-logs", otlp_logs),
    ("otlp-metrics", otlp_metrics),
    ("otlp-spans", otlp_spans),
    ("kubernetes-event-exporter", exporter),
    ("kubernetes-events", core_event),
    ("kubernetes-objects", watched_object),
    ("opencost", opencost),
    ("falco", falco),
    ("alertmanager", alertmanager),
]


@pytest.mark.parametrize(("format", "body"), TOLD, ids=[one[1].__name__ for one in TOLD])
def test_one_pod_is_one_entity(format: str, body: object) -> None:
    decoded = format_of(format, Identity("demo")).decode([body()], [0], "in", [AT_S * 1000])  # type: ignore[operator]
    assert not decoded.letters, decoded.letters
    assert decoded.rows["entity"].to_list() == [STORE]
