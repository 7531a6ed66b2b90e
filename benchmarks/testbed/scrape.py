"""Does Prometheus' work: asks every pod for its metrics, and adds up what its node would report."""

import http.client
from collections import defaultdict
from collections.abc import Mapping

from benchmarks.testbed.catalogue import CONTAINER_PORT, NAMESPACE, NODES, NodeSpec
from benchmarks.testbed.clock import now_ns
from benchmarks.testbed.cluster import Cluster, RunningPod
from benchmarks.testbed.exposition import Sample, parse
from benchmarks.testbed.recorder import Recorder
from benchmarks.testbed.wire import sample

_TIMEOUT_S = 4.0
_CPU = "process_cpu_seconds_total"
_MEMORY = "process_resident_memory_bytes"


class Scraper:
    """Keeps what each node's pods have used so far, so that a node's counter survives its pods."""

    def __init__(self, cluster: Cluster, recorder: Recorder) -> None:
        self._cluster = cluster
        self._recorder = recorder
        self._node_cpu_s: defaultdict[str, float] = defaultdict(float)
        self._pod_cpu_s: defaultdict[str, float] = defaultdict(float)

    def scrape(self) -> None:
        """Take one round of samples, of every pod and of both nodes."""
        memory: defaultdict[str, float] = defaultdict(float)
        for pod in self._cluster.pods():
            samples = self._pod(pod)
            values = {one.name: one.value for one in samples}
            memory[pod.node.name] += values.get(_MEMORY, 0.0)
            if _CPU in values:
                self._node_cpu_s[pod.node.name] += values[_CPU] - self._pod_cpu_s[pod.names.name]
                self._pod_cpu_s[pod.names.name] = values[_CPU]
        for node in NODES:
            self._node(node, memory[node.name])

    def _pod(self, pod: RunningPod) -> list[Sample]:
        """Record `up` and, if the pod answered, its samples."""
        at_ns = now_ns()
        labels = _pod_labels(pod)
        try:
            samples = list(parse(_get(pod.port)))
        except (OSError, http.client.HTTPException):
            samples = []
        for one in [Sample("up", {}, 1.0 if samples else 0.0), *samples]:
            self._recorder.add("metrics", at_ns, sample(at_ns, one.name, one.value, {**labels, **one.labels}))
        return samples

    def _node(self, node: NodeSpec, memory_bytes: float) -> None:
        """Record what the node's pods use, under the names of the kubelet's resource metrics."""
        at_ns = now_ns()
        labels = {"job": "kubelet", "instance": f"{node.address}:10250", "node": node.name}
        cpu_s = round(self._node_cpu_s[node.name], 3)
        self._recorder.add("metrics", at_ns, sample(at_ns, "node_cpu_usage_seconds_total", cpu_s, labels))
        self._recorder.add("metrics", at_ns, sample(at_ns, "node_memory_working_set_bytes", memory_bytes, labels))


def _pod_labels(pod: RunningPod) -> Mapping[str, str]:
    name = pod.release.spec.name
    return {
        "job": f"{NAMESPACE}/{name}",
        "instance": f"{pod.names.ip}:{CONTAINER_PORT}",
        "namespace": NAMESPACE,
        "pod": pod.names.name,
        "container": name,
        "service": name,
    }


def _get(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()
