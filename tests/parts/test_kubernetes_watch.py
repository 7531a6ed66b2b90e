"""A real cluster followed through what happens in one: everything comes out as a row of the right entity, once."""

import json
import threading
import time
from collections import Counter

import polars as pl
import pytest

from engine.errors import OpsBrainError, Permanent
from ingest.identity import Identity
from ingest.registry import format_of
from opsbrain.pull.kubernetes_api import EVENTS, OBJECTS, ClientAccess, ClusterConfig
from opsbrain.pull.kubernetes_watch import watches
from tests.parts.processes import eventually

HOUR_MS = 3_600_000


class Kept:
    """Keeps bodies in memory, as a journal would on disk."""

    def __init__(self):
        self.bodies = []
        self.lock = threading.Lock()

    def keep(self, format, body):
        with self.lock:
            self.bodies.append((format, body))

    def rows(self, format, namespace):
        """Return the rows of a format that are about a namespace, or about nodes, in the order they were kept."""
        bodies = [body for name, body in list(self.bodies) if name == format]
        decoded = format_of(format, Identity("demo")).decode(bodies, range(len(bodies)), "in")
        assert not decoded.letters
        return decoded.rows.filter(pl.col("entity").str.starts_with(f"demo/service/{namespace}/"))


class Following:
    """All watches of a cluster, in threads that try again at once."""

    def __init__(self, cluster, folder, kept, namespace=""):
        config = ClusterConfig(str(cluster.reader_kubeconfig), namespace=namespace)
        self.watches = list(watches("test", config, folder, kept, lambda: time.time_ns() // 1_000_000))
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(watch,), daemon=True) for watch in self.watches]
        self.errors = []

    def run(self, watch):
        while not self.stopped.is_set():
            try:
                watch.poll(time.time_ns() // 1_000_000)
            except OpsBrainError as error:
                self.errors.append(str(error))
            self.stopped.wait(0.1)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for watch in self.watches:
            watch.close()
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive(), "a watch did not end when it was closed"


@pytest.fixture
def kubectl(cluster, namespace):
    return Kubectl(cluster, namespace)


class Kubectl:
    """What people and pipelines do to a cluster, in one namespace."""

    def __init__(self, cluster, namespace):
        from kubernetes import client

        self.namespace = namespace
        self.apps, self.core = client.AppsV1Api(cluster.api()), client.CoreV1Api(cluster.api())

    def deploy(self, name, replicas, cpu="10m"):
        labels = {"app": name}
        resources = {"requests": {"cpu": cpu}}
        spec = {"containers": [{"name": "c", "image": "nginx:1", "resources": resources}]}
        template = {"metadata": {"labels": labels}, "spec": spec}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        self.apps.create_namespaced_deployment(self.namespace, {"metadata": {"name": name}, "spec": spec})

    def patch(self, name, spec):
        self.apps.patch_namespaced_deployment(name, self.namespace, {"spec": spec})

    def roll_out(self, name, image):
        self.patch(name, {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}})

    def ready(self, name, replicas):
        def settled():
            status = self.apps.read_namespaced_deployment(name, self.namespace).status
            return (status.ready_replicas, status.updated_replicas, status.replicas) == (replicas,) * 3

        assert eventually(settled), f"{name} did not get {replicas} replicas"

    def pods(self):
        return self.core.list_namespaced_pod(self.namespace).items

    def evict(self):
        """Ask for the eviction of a pod that runs, as a drain does, and return its name."""
        name = next(one.metadata.name for one in self.pods() if one.status.phase == "Running")
        self.core.create_namespaced_pod_eviction(name, self.namespace, {"metadata": {"name": name}})
        return name

    def taint(self, node, taints):
        self.core.patch_node(node, {"spec": {"taints": taints}})

    def said(self):
        """Return the events of the namespace as (uid, reason, object)."""
        response = self.core.list_namespaced_event(self.namespace, _preload_content=False)
        items = json.loads(response.data)["items"]
        return {(one["metadata"]["uid"], one["reason"], one["involvedObject"]["name"]) for one in items}


def reasons(kept, namespace):
    return Counter(kept.rows("kubernetes-events", namespace).select("reason", "entity").iter_rows())


def none_twice(rows):
    again = rows.filter(pl.col("identity").is_duplicated() | (pl.col("identity") == 0))
    assert again.is_empty(), again


def all_found(kept, kubectl):
    """Every event and every object that the cluster holds now has come out, of the right entity, and none twice."""
    held = kubectl.said()
    assert eventually(
        lambda: {uid for uid, *_ in held} <= set(kept.rows("kubernetes-events", kubectl.namespace)["uid"])
    )
    rows = kept.rows("kubernetes-events", kubectl.namespace)
    none_twice(rows)
    found = dict(rows.select("uid", "entity").iter_rows())
    for uid, reason, name in held:
        assert name.startswith(found[uid].rpartition("/")[2]), (reason, name, found[uid])

    live = {("Pod", one.metadata.name) for one in kubectl.pods()}

    def last():
        rows = kept.rows("kubernetes-objects", kubectl.namespace).group_by("object_kind", "name", maintain_order=True)
        return rows.agg(pl.col("deleted").last())

    def is_told():
        pods = last().filter(pl.col("object_kind") == "Pod")
        return set(pods.filter(~pl.col("deleted")).select("object_kind", "name").iter_rows()) == live

    assert eventually(is_told), "objects are not as they are in the cluster"
    none_twice(kept.rows("kubernetes-objects", kubectl.namespace))


def test_a_rollout_a_failed_scheduling_a_scale_out_and_an_eviction(cluster, kubectl, namespace, tmp_path):
    kept, store = Kept(), f"demo/service/{namespace}/store"
    with Following(cluster, tmp_path, kept):
        kubectl.deploy("store", 2)
        kubectl.ready("store", 2)
        kubectl.roll_out("store", "nginx:2")
        kubectl.ready("store", 2)
        kubectl.patch("store", {"replicas": 4})
        kubectl.ready("store", 4)
        kubectl.deploy("huge", 1, cpu="64")
        node = kubectl.pods()[0].spec.node_name or "node-1"
        kubectl.taint(node, [{"key": "maintenance", "value": "now", "effect": "NoExecute"}])
        assert eventually(lambda: ("TaintManagerEviction", store) in reasons(kept, namespace))
        kubectl.taint(node, None)
        kubectl.ready("store", 4)
        evicted = kubectl.evict()
        assert eventually(lambda: evicted in kept.rows("kubernetes-objects", namespace).filter(deleted=True)["name"])
        kubectl.ready("store", 4)
        all_found(kept, kubectl)

    found = reasons(kept, namespace)
    assert found["FailedScheduling", f"demo/service/{namespace}/huge"] >= 1
    assert found["ScalingReplicaSet", store] >= 4
    assert found["SuccessfulCreate", store] >= 6
    assert found["SuccessfulDelete", store] >= 2
    objects = kept.rows("kubernetes-objects", namespace).filter(pl.col("entity") == store)
    replicas = objects.filter(pl.col("object_kind") == "Deployment")["manifest"].str.json_path_match("$.spec.replicas")
    assert replicas.unique(maintain_order=True).to_list() == ["2", "4"]
    assert set(objects["object_kind"]) >= {"Deployment", "ReplicaSet", "Pod"}


def test_over_a_dropped_connection(cluster, kubectl, namespace, tmp_path):
    kept = Kept()
    with Following(cluster, tmp_path, kept, namespace) as following:
        kubectl.deploy("store", 2)
        kubectl.ready("store", 2)
        cluster.stop_api()
        time.sleep(0.3)  # refused connections, too
        cluster.start_api()
        kubectl.patch("store", {"replicas": 3})
        kubectl.ready("store", 3)
        all_found(kept, kubectl)
        assert any("cannot be reached" in error for error in following.errors)
    assert not any("Bearer" in error or "token" in error for error in following.errors)


def test_over_a_restart_nothing_is_told_again_and_nothing_is_missed(cluster, kubectl, namespace, tmp_path):
    kept = Kept()
    with Following(cluster, tmp_path, kept, namespace):
        kubectl.deploy("store", 2)
        kubectl.ready("store", 2)
        all_found(kept, kubectl)
    before = len(kept.bodies)
    kubectl.patch("store", {"replicas": 1})
    kubectl.ready("store", 1)
    with Following(cluster, tmp_path, kept, namespace):
        all_found(kept, kubectl)
    told = [json.loads(body)["type"] for _, body in kept.bodies[before:]]
    assert "DELETED" in told
    assert len(told) < before


def test_over_an_expired_resource_version_what_vanished_is_told(cluster, kubectl, namespace, tmp_path):
    kept = Kept()
    with Following(cluster, tmp_path, kept, namespace):
        kubectl.deploy("store", 2)
        kubectl.deploy("other", 1)
        kubectl.ready("store", 2)
        kubectl.ready("other", 1)
        all_found(kept, kubectl)
    before = len(kept.bodies)
    kubectl.apps.delete_namespaced_deployment("store", namespace)
    assert eventually(lambda: len(kubectl.pods()) == 1)
    cluster.compact()
    with Following(cluster, tmp_path, kept, namespace):
        all_found(kept, kubectl)
        gone = kept.rows("kubernetes-objects", namespace).filter(pl.col("deleted"))
        assert Counter(gone["object_kind"]) == {"Pod": 2, "Deployment": 1, "ReplicaSet": 1}
        assert set(gone["entity"]) == {f"demo/service/{namespace}/store"}
    later = [json.loads(body) for format, body in kept.bodies[before:] if format == "kubernetes-objects"]
    assert not [one for one in later if "other" in one["object"]["metadata"]["name"]], (
        "what did not change is told again"
    )


def test_a_watch_expires_while_it_runs(cluster, kubectl, namespace, tmp_path):
    kept = Kept()
    with Following(cluster, tmp_path, kept, namespace):
        kubectl.deploy("store", 1)
        kubectl.ready("store", 1)
        all_found(kept, kubectl)
        cluster.stop_api()
        cluster.compact()
        cluster.start_api()
        kubectl.patch("store", {"replicas": 2})
        kubectl.ready("store", 2)
        all_found(kept, kubectl)


def test_what_the_role_does_not_allow_is_one_line_that_says_what_to_grant(cluster, tmp_path):
    from dataclasses import replace

    access = ClientAccess(ClusterConfig(str(cluster.reader_kubeconfig)))
    with pytest.raises(Permanent, match=r"operator action: grant the rules of deploy/cluster/reader\.yaml"):
        access.list(replace(EVENTS, kind="Secret", noun="secret"))
    assert not [one for one in OBJECTS if one.kind == "Secret"]


def test_a_wrong_token_is_one_line_without_it(cluster, tmp_path):
    spoiled = tmp_path / "kubeconfig"
    text = cluster.reader_kubeconfig.read_text()
    token = text.partition('token: "')[2].partition('"')[0]
    spoiled.write_text(text.replace(token, "wrong" + token))
    with pytest.raises(Permanent, match="does not accept the credentials") as refused:
        ClientAccess(ClusterConfig(str(spoiled))).list(EVENTS)
    assert token not in str(refused.value)
