"""The bodies that shippers send: Fluent Bit's Kafka output and the prometheus-kafka-adapter, one JSON text each."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.testbed.clock import rfc3339_seconds


@dataclass(frozen=True, slots=True)
class PodMeta:
    """What Fluent Bit's Kubernetes filter and Prometheus' discovery know of a running pod."""

    service: str
    namespace: str
    pod: str
    pod_id: str
    pod_ip: str
    node: str
    labels: Mapping[str, str]
    container_image: str
    container_id: str


def body(value: Mapping[str, object]) -> str:
    """Return the compact JSON text of one message."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def log_record(at_ns: int, stream: str, line: str, pod: PodMeta) -> dict[str, object]:
    """Return one log line as Fluent Bit's `kafka` output writes it, with the Kubernetes filter on."""
    return {
        "@timestamp": at_ns // 1000 / 1e6,
        "stream": stream,
        "log": line,
        "kubernetes": {
            "pod_name": pod.pod,
            "namespace_name": pod.namespace,
            "pod_id": pod.pod_id,
            "labels": dict(pod.labels),
            "host": pod.node,
            "pod_ip": pod.pod_ip,
            "container_name": pod.service,
            "docker_id": pod.container_id,
            "container_image": pod.container_image,
        },
    }


def sample(at_ns: int, name: str, value: float, labels: Mapping[str, str]) -> dict[str, object]:
    """Return one sample as the prometheus-kafka-adapter writes it: the value is text, the time has whole seconds."""
    return {
        "timestamp": rfc3339_seconds(at_ns),
        "value": repr(value) if value != int(value) else str(int(value)),
        "name": name,
        "labels": {"__name__": name, **labels},
    }
