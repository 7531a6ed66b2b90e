"""Plays the control plane and the kubelets: starts pods as processes, rolls deployments, probes, and reports it all."""

import http.client
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from benchmarks.testbed import manifests
from benchmarks.testbed.catalogue import CONTAINER_PORT, NAMESPACE, NODES, SERVICES, NodeSpec, ServiceSpec, image
from benchmarks.testbed.clock import now_ns
from benchmarks.testbed.endpoints import publish
from benchmarks.testbed.events import EventLog, Involved
from benchmarks.testbed.manifests import PodNames, Release
from benchmarks.testbed.naming import Names
from benchmarks.testbed.recorder import Recorder
from benchmarks.testbed.wire import PodMeta, log_record

_START_LIMIT_S = 20.0
_STOP_LIMIT_S = 8.0
_PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class RunningPod:
    """One pod and its process."""

    release: Release
    names: PodNames
    node: NodeSpec
    process: "subprocess.Popen[str]"
    port: int

    @property
    def meta(self) -> PodMeta:
        """What shippers know of the pod."""
        return PodMeta(
            service=self.release.spec.name,
            namespace=NAMESPACE,
            pod=self.names.name,
            pod_id=self.names.uid,
            pod_ip=self.names.ip,
            node=self.node.name,
            labels=self.release.pod_labels,
            container_image=image(self.release.spec.name, self.release.version),
            container_id=self.names.container_id,
        )


class Cluster:
    """One pod a service, on two nodes that exist by name only: every process runs on this machine."""

    def __init__(self, work: Path, recorder: Recorder, seed: int, scope: str) -> None:
        self._work = work
        self._recorder = recorder
        self._names = Names(seed)
        self._events = EventLog(self._names, scope)
        self._pods: dict[str, RunningPod] = {}
        self._pod_count = 0
        self._endpoints = work / "endpoints.json"
        self.spans = work / "spans"
        for folder in (self.spans, work / "ports", work / "state"):
            folder.mkdir(parents=True, exist_ok=True)

    def pods(self) -> list[RunningPod]:
        """Return the pods that take traffic now, by name of service."""
        return [self._pods[name] for name in sorted(self._pods)]

    def start(self) -> None:
        """Create every object and bring every service up."""
        self._create_fixtures()
        for spec in SERVICES:
            created_ns = now_ns()
            release = Release(spec, spec.version, 1, self._names.uid(), self._names.uid(), created_ns, created_ns)
            self._recorder.add_object(created_ns, manifests.deployment(release, updated=0, ready=0))
            self._scale_up(release)

    def roll(self, service: str, version: str) -> None:
        """Replace a service's pod by one of another version: the new one is ready before the old one stops."""
        old = self._pods[service]
        created_ns = now_ns()
        release = replace(
            old.release,
            version=version,
            revision=old.release.revision + 1,
            replica_set_uid=self._names.uid(),
            created_ns=created_ns,
        )
        self._recorder.add_object(created_ns, manifests.deployment(release, updated=0, ready=1))
        self._scale_up(release)
        self._scale_down(old)

    def probe(self) -> None:
        """Ask every pod once whether it is ready, and report those that do not say yes in time."""
        for pod in self.pods():
            threading.Thread(target=self._probe, args=(pod,), daemon=True).start()

    def stop(self) -> None:
        """End every process. What the end looks like is not part of a recording."""
        for pod in self.pods():
            pod.process.terminate()
        for pod in self.pods():
            _wait(pod.process)

    def _create_fixtures(self) -> None:
        at_ns = now_ns()
        for node in NODES:
            self._recorder.add_object(at_ns, manifests.node(node, self._names.uid(), at_ns))
        for number, spec in enumerate(SERVICES, 10):
            self._recorder.add_object(at_ns, manifests.config_map(spec, self._names.uid(), at_ns))
            self._recorder.add_object(at_ns, manifests.service(spec, self._names.uid(), at_ns, f"10.96.0.{number}"))

    def _scale_up(self, release: Release) -> None:
        """Create the ReplicaSet and its pod, wait until it is ready, and send it the traffic."""
        self._say_deployment(release, f"Scaled up replica set {release.replica_set} from 0 to 1")
        self._recorder.add_object(now_ns(), manifests.replica_set(release, 1))
        node = {one.name: one for one in NODES}[release.spec.node]
        names = self._draw_names(release, node)
        self._recorder.add_object(names.created_ns, manifests.pod(release, names, node, None, None))
        pod = self._launch(release, names, node)
        self._pods[release.spec.name] = pod
        publish(self._endpoints, {name: one.port for name, one in self._pods.items()})
        ready_ns = now_ns()
        self._recorder.add_object(ready_ns, manifests.pod(release, names, node, ready_ns, None))
        self._recorder.add_object(ready_ns, manifests.deployment(release, updated=1, ready=1))

    def _scale_down(self, pod: RunningPod) -> None:
        at_ns, name = now_ns(), pod.release.spec.name
        self._say_deployment(pod.release, f"Scaled down replica set {pod.release.replica_set} from 1 to 0")
        self._recorder.add_object(at_ns, manifests.replica_set(pod.release, 0))
        self._say(
            _replica_set(pod.release), "SuccessfulDelete", f"Deleted pod: {pod.names.name}", "replicaset-controller"
        )
        self._say(_pod(pod.release, pod.names), "Killing", f"Stopping container {name}", "kubelet", pod.node.name)
        self._recorder.add_object(at_ns, manifests.pod(pod.release, pod.names, pod.node, pod.names.created_ns, at_ns))
        pod.process.terminate()
        _wait(pod.process)

    def _draw_names(self, release: Release, node: NodeSpec) -> PodNames:
        self._pod_count += 1
        return PodNames(
            name=f"{release.replica_set}-{self._names.pod_suffix()}",
            uid=self._names.uid(),
            ip=f"{node.pod_network}.{self._pod_count + 3}",
            container_id=self._names.container_id(),
            created_ns=now_ns(),
        )

    def _launch(self, release: Release, names: PodNames, node: NodeSpec) -> RunningPod:
        about, host, name = _pod(release, names), node.name, release.spec.name
        self._say(_replica_set(release), "SuccessfulCreate", f"Created pod: {names.name}", "replicaset-controller")
        placed = f"Successfully assigned {NAMESPACE}/{names.name} to {host}"
        self._say(about, "Scheduled", placed, "default-scheduler")
        pulled = f'Container image "{image(name, release.version)}" already present on machine'
        self._say(about, "Pulled", pulled, "kubelet", host)
        self._say(about, "Created", f"Created container: {name}", "kubelet", host)
        port_file = self._work / "ports" / names.name
        process = self._spawn(release.spec, release.version, names, node, port_file)
        self._say(about, "Started", f"Started container {name}", "kubelet", host)
        pod = RunningPod(release, names, node, process, 0)
        for stream, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
            assert pipe is not None
            threading.Thread(target=self._ship, args=(pod.meta, stream, pipe), daemon=True).start()
        return replace(pod, port=_await_port(port_file, process))

    def _spawn(
        self, spec: ServiceSpec, version: str, names: PodNames, node: NodeSpec, port_file: Path
    ) -> "subprocess.Popen[str]":
        options = {
            "service": spec.name,
            "version": version,
            "pod": names.name,
            "pod-id": names.uid,
            "namespace": NAMESPACE,
            "node": node.name,
            "port-file": str(port_file),
            "span-file": str(self.spans / f"{names.name}.jsonl"),
            "endpoints": str(self._endpoints),
            "state-dir": str(self._work / "state"),
        }
        command = [sys.executable, "-m", "benchmarks.testbed.pod"]
        command += [part for name, value in options.items() for part in (f"--{name}", value)]
        environment = {**os.environ, **spec.settings}
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=_PROJECT, env=environment, stdout=pipe, stderr=pipe, text=True)

    def _ship(self, meta: PodMeta, stream: str, pipe: IO[str]) -> None:
        """Do Fluent Bit's work for one stream of one container."""
        for line in pipe:
            at_ns = now_ns()
            self._recorder.add("logs", at_ns, log_record(at_ns, stream, line.rstrip("\n"), meta))

    def _probe(self, pod: RunningPod) -> None:
        limit_s = float(manifests.PROBE_TIMEOUT_S)
        connection = http.client.HTTPConnection("127.0.0.1", pod.port, timeout=limit_s)
        try:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            failure = "" if answer.status == 200 else f"HTTP probe failed with statuscode: {answer.status}"
        except TimeoutError:
            url = f"http://{pod.names.ip}:{CONTAINER_PORT}/readyz"
            failure = f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        except (OSError, http.client.HTTPException) as error:
            failure = f"HTTP probe failed: {type(error).__name__}"
        finally:
            connection.close()
        if failure and pod.process.poll() is None and self._pods[pod.release.spec.name] is pod:
            about = _pod(pod.release, pod.names)
            self._say(about, "Unhealthy", f"Readiness probe failed: {failure}", "kubelet", pod.node.name, "Warning")

    def _say_deployment(self, release: Release, message: str) -> None:
        self._say(_deployment(release), "ScalingReplicaSet", message, "deployment-controller")

    def _say(
        self, about: Involved, reason: str, message: str, component: str, host: str = "", kind: str = "Normal"
    ) -> None:
        at_ns = now_ns()
        self._recorder.add("events", at_ns, self._events.event(at_ns, about, reason, message, component, host, kind))


def _deployment(release: Release) -> Involved:
    name = release.spec.name
    return Involved("apps/v1", "Deployment", NAMESPACE, name, release.deployment_uid, {"app": name})


def _replica_set(release: Release) -> Involved:
    owners = [manifests.replica_set_owner(release)]
    uid, labels = release.replica_set_uid, release.pod_labels
    return Involved("apps/v1", "ReplicaSet", NAMESPACE, release.replica_set, uid, labels, owners)


def _pod(release: Release, names: PodNames) -> Involved:
    owners = [manifests.pod_owner(release)]
    return Involved("v1", "Pod", NAMESPACE, names.name, names.uid, release.pod_labels, owners)


def _await_port(port_file: Path, process: "subprocess.Popen[str]") -> int:
    until = time.monotonic() + _START_LIMIT_S
    while not port_file.exists():
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"pod {port_file.name} did not start (exit status {process.poll()})")
        time.sleep(0.02)
    return int(port_file.read_text(encoding="ascii"))


def _wait(process: "subprocess.Popen[str]") -> None:
    try:
        process.wait(_STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
