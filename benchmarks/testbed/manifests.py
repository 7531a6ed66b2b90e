"""The Kubernetes objects of the shop, complete as an API server would return them."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.testbed.catalogue import CONTAINER_PORT, NAMESPACE, NodeSpec, ServiceSpec, image
from benchmarks.testbed.clock import rfc3339_seconds
from benchmarks.testbed.naming import template_hash

Manifest = dict[str, object]

REVISION = "deployment.kubernetes.io/revision"

# One pod a service: taking it out of rotation would turn slow into gone, so the probe is patient (5 minutes).
PROBE_PERIOD_S = 5
PROBE_TIMEOUT_S = 1
PROBE_FAILURES = 60


@dataclass(frozen=True, slots=True)
class Release:
    """One version of one service as the cluster knows it: the Deployment's revision and its ReplicaSet."""

    spec: ServiceSpec
    version: str
    revision: int
    deployment_uid: str
    replica_set_uid: str
    first_created_ns: int
    created_ns: int

    @property
    def pod_template_hash(self) -> str:
        """The hash that names the ReplicaSet and labels its pods."""
        return template_hash(_template(self))

    @property
    def replica_set(self) -> str:
        """The ReplicaSet's name."""
        return f"{self.spec.name}-{self.pod_template_hash}"

    @property
    def pod_labels(self) -> dict[str, str]:
        """The labels of the release's pods."""
        return {**_labels(self), "pod-template-hash": self.pod_template_hash}


@dataclass(frozen=True, slots=True)
class PodNames:
    """What is drawn anew for each pod."""

    name: str
    uid: str
    ip: str
    container_id: str
    created_ns: int


def deployment(release: Release, updated: int, ready: int) -> Manifest:
    """Return the Deployment with `updated` pods of this revision and `ready` pods of any revision serving."""
    spec = release.spec
    metadata = _metadata(spec.name, release.deployment_uid, release.first_created_ns, {"app": spec.name})
    metadata["annotations"] = {
        REVISION: str(release.revision),
        "kubernetes.io/change-cause": f"{spec.name} {release.version}",
    }
    metadata["generation"] = release.revision
    available = "True" if ready else "False"
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": {"app": spec.name}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": _template(release),
        },
        "status": {
            "observedGeneration": release.revision,
            "replicas": max(updated, ready),
            "updatedReplicas": updated,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "conditions": [_condition("Available", available, "MinimumReplicasAvailable", release.created_ns)],
        },
    }


def replica_set(release: Release, replicas: int) -> Manifest:
    """Return the release's ReplicaSet, scaled to `replicas`."""
    metadata = _metadata(release.replica_set, release.replica_set_uid, release.created_ns, release.pod_labels)
    metadata["annotations"] = {
        REVISION: str(release.revision),
        "deployment.kubernetes.io/desired-replicas": "1",
        "deployment.kubernetes.io/max-replicas": "2",
    }
    metadata["ownerReferences"] = [_owner("Deployment", release.spec.name, release.deployment_uid)]
    metadata["generation"] = 1
    selector = {"app": release.spec.name, "pod-template-hash": release.pod_template_hash}
    template = _template(release)
    template["metadata"] = {"labels": release.pod_labels}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": metadata,
        "spec": {"replicas": replicas, "selector": {"matchLabels": selector}, "template": template},
        "status": {
            "replicas": replicas,
            "readyReplicas": replicas,
            "availableReplicas": replicas,
            "fullyLabeledReplicas": replicas,
            "observedGeneration": 1,
        },
    }


def pod(release: Release, names: PodNames, node: NodeSpec, ready_ns: int | None, deleted_ns: int | None) -> Manifest:
    """Return a pod: being created while `ready_ns` is None, terminating once `deleted_ns` is set."""
    metadata = _metadata(names.name, names.uid, names.created_ns, release.pod_labels)
    metadata["generateName"] = f"{release.replica_set}-"
    metadata["ownerReferences"] = [pod_owner(release)]
    if deleted_ns is not None:
        metadata["deletionTimestamp"] = rfc3339_seconds(deleted_ns)
        metadata["deletionGracePeriodSeconds"] = 30
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {**_pod_spec(release), "nodeName": node.name},
        "status": _pod_status(release, names, node, ready_ns),
    }


def pod_owner(release: Release) -> Manifest:
    """Return the owner reference that the release's pods carry."""
    return _owner("ReplicaSet", release.replica_set, release.replica_set_uid)


def replica_set_owner(release: Release) -> Manifest:
    """Return the owner reference that the release's ReplicaSet carries."""
    return _owner("Deployment", release.spec.name, release.deployment_uid)


def service(spec: ServiceSpec, uid: str, created_ns: int, cluster_ip: str) -> Manifest:
    """Return the Service in front of a deployment."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(spec.name, uid, created_ns, {"app": spec.name}),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": cluster_ip,
            "clusterIPs": [cluster_ip],
            "selector": {"app": spec.name},
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": "http"}],
        },
    }


def config_map(spec: ServiceSpec, uid: str, created_ns: int) -> Manifest:
    """Return the ConfigMap that holds the service's settings."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(f"{spec.name}-config", uid, created_ns, {"app": spec.name}),
        "data": dict(spec.settings),
    }


def node(spec: NodeSpec, uid: str, created_ns: int) -> Manifest:
    """Return a ready node."""
    metadata: Manifest = {
        "name": spec.name,
        "uid": uid,
        "creationTimestamp": rfc3339_seconds(created_ns),
        "labels": {"kubernetes.io/hostname": spec.name, "kubernetes.io/os": "linux"},
    }
    resources = {"cpu": spec.cpu, "memory": spec.memory, "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata,
        "spec": {"podCIDR": f"{spec.pod_network}.0/24"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": spec.address}, {"type": "Hostname", "address": spec.name}],
            "capacity": resources,
            "allocatable": resources,
            "conditions": [_condition("Ready", "True", "KubeletReady", created_ns)],
        },
    }


def _labels(release: Release) -> dict[str, str]:
    return {"app": release.spec.name, "version": release.version}


def _template(release: Release) -> Manifest:
    return {"metadata": {"labels": _labels(release)}, "spec": _pod_spec(release)}


def _pod_spec(release: Release) -> Manifest:
    spec = release.spec
    return {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "containers": [
            {
                "name": spec.name,
                "image": image(spec.name, release.version),
                "imagePullPolicy": "IfNotPresent",
                "ports": [{"name": "http", "containerPort": CONTAINER_PORT, "protocol": "TCP"}],
                "envFrom": [{"configMapRef": {"name": f"{spec.name}-config"}}],
                "resources": {
                    "requests": {"cpu": spec.cpu_request, "memory": spec.memory_request},
                    "limits": {"cpu": spec.cpu_limit, "memory": spec.memory_limit},
                },
                "readinessProbe": {
                    "httpGet": {"path": "/readyz", "port": "http"},
                    "periodSeconds": PROBE_PERIOD_S,
                    "timeoutSeconds": PROBE_TIMEOUT_S,
                    "failureThreshold": PROBE_FAILURES,
                },
            }
        ],
    }


def _pod_status(release: Release, names: PodNames, node: NodeSpec, ready_ns: int | None) -> Manifest:
    if ready_ns is None:
        return {"phase": "Pending", "hostIP": node.address}
    container = {
        "name": release.spec.name,
        "image": image(release.spec.name, release.version),
        "imageID": "",
        "containerID": f"containerd://{names.container_id}",
        "ready": True,
        "started": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": rfc3339_seconds(ready_ns)}},
    }
    return {
        "phase": "Running",
        "hostIP": node.address,
        "podIP": names.ip,
        "startTime": rfc3339_seconds(names.created_ns),
        "conditions": [_condition("Ready", "True", None, ready_ns)],
        "containerStatuses": [container],
    }


def _condition(kind: str, status: str, reason: str | None, at_ns: int) -> Manifest:
    condition: Manifest = {"type": kind, "status": status, "lastTransitionTime": rfc3339_seconds(at_ns)}
    return condition | ({"reason": reason} if reason else {})


def _metadata(name: str, uid: str, created_ns: int, labels: Mapping[str, str]) -> Manifest:
    return {
        "name": name,
        "namespace": NAMESPACE,
        "uid": uid,
        "creationTimestamp": rfc3339_seconds(created_ns),
        "labels": dict(labels),
    }


def _owner(kind: str, name: str, uid: str) -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
