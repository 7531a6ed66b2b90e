"""Changes and edges out of Kubernetes objects and events: what counts as done, and what is only said."""

from __future__ import annotations

import copy
import json

import polars as pl
import pytest

from engine.inventory import Inventory
from engine.schemas import SCHEMAS
from rca.changes import ObjectChanges
from rca.topology import ObjectTopology

PAYMENTS = "demo/service/shop/payments"
NODE = "demo/node/-/node-1"


def deployment(image="registry/payments:1.4.2", replicas=2, **extra):
    container = {"name": "payments", "image": image, "envFrom": [{"configMapRef": {"name": "settings"}}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "payments", "namespace": "shop", "resourceVersion": "1"},
        "spec": {
            "replicas": replicas,
            "template": {"metadata": {"labels": {"app": "payments"}}, "spec": {"containers": [container]}},
            **extra,
        },
    }


def config_map(**data):
    metadata = {"name": "settings", "namespace": "shop"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def node(ready="True", cordoned=False, heartbeat="1"):
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node-1"},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {
            "conditions": [{"type": "Ready", "status": ready, "reason": "KubeletReady", "lastHeartbeatTime": heartbeat}]
        },
    }


def rows(*manifests, entity=PAYMENTS, deleted=False, start=1000):
    return pl.DataFrame(
        [
            {
                "ts_ms": start + number,
                "offset": number,
                "entity": entity,
                "api_version": one["apiVersion"],
                "object_kind": one["kind"],
                "namespace": one["metadata"].get("namespace", ""),
                "name": one["metadata"]["name"],
                "manifest": json.dumps(one, sort_keys=True),
                "deleted": deleted,
            }
            for number, one in enumerate(manifests)
        ],
        schema=SCHEMAS["objects"],
    )


def events(*told):
    return pl.DataFrame(
        [
            {
                "ts_ms": 5000,
                "offset": number,
                "entity": entity,
                "reason": reason,
                "type": "Normal",
                "message": message,
                "count": 1,
                "uid": str(number),
            }
            for number, (entity, reason, message) in enumerate(told)
        ],
        schema=SCHEMAS["events"],
    )


def changes(*manifests, inventory=None, entity=PAYMENTS):
    return ObjectChanges().changes(events(), rows(*manifests, entity=entity), inventory or Inventory())


def told(*manifests, entity=PAYMENTS):
    return [(one.kind, one.summary) for one in changes(*manifests, entity=entity)]


def changed(manifest, *path_and_value):
    *path, last, value = path_and_value
    copied = copy.deepcopy(manifest)
    target = copied
    for step in path:
        target = target.setdefault(step, {}) if isinstance(step, str) else target[step]
    target[last] = value
    return copied


CONTAINER = ("spec", "template", "spec", "containers", 0)


@pytest.mark.parametrize(
    ("after", "kind", "summary"),
    [
        (deployment("registry/payments:1.5.0"), "deployment", "payments: image 1.4.2 -> 1.5.0"),
        (
            deployment("other/payments:1.4.2"),
            "deployment",
            "payments: image registry/payments:1.4.2 -> other/payments:1.4.2",
        ),
        (
            changed(deployment(), *CONTAINER, "resources", {"limits": {"memory": "64Mi"}}),
            "deployment",
            "payments: /spec/containers/payments/resources changed",
        ),
        (deployment(replicas=5), "scale", "payments: replicas 2 -> 5"),
        (deployment(paused=True), "config", "payments: /paused changed"),
    ],
)
def test_what_was_done_to_a_workload(after, kind, summary):
    assert told(deployment(), after) == [(kind, summary)]


@pytest.mark.parametrize(
    "after",
    [
        changed(deployment(), "metadata", "resourceVersion", "2"),
        changed(deployment(), "metadata", "annotations", {"note": "hello"}),
        changed(deployment(), "metadata", "labels", {"team": "a"}),
        changed(deployment(), "status", "readyReplicas", 1),
        changed(
            deployment(),
            "spec", "template", "metadata", "annotations", {"kubectl.kubernetes.io/restartedAt": "now"},
        ),
    ],
    ids=["stamp", "annotation", "label", "status", "restart"],
)  # fmt: skip
def test_what_is_no_change(after):
    assert told(deployment(), after) == []


def test_the_first_sight_of_an_object_is_no_change():
    assert told(deployment(), config_map(a="1"), node()) == []


def test_config_maps_say_which_keys_and_only_harmless_values():
    before = config_map(TIMEOUT_MS="2000", GREETING="hello", OLD="x", DEBUG="false")
    after = config_map(TIMEOUT_MS="2", GREETING="bye", NEW="y", DEBUG="false")
    assert told(before, after) == [
        ("config", "ConfigMap settings: GREETING changed, NEW added, OLD removed and 1 more")
    ]
    assert told(config_map(POOL="40"), config_map(POOL="4")) == [("config", "ConfigMap settings: POOL 40 -> 4")]


def test_nodes_tell_of_conditions_and_cordons_but_not_of_heartbeats():
    found = told(node(), node(heartbeat="2"), node("False"), node("False", cordoned=True), entity=NODE)
    assert found == [
        ("node", "node-1: Ready True -> False (KubeletReady)"),
        ("node", "node-1: cordoned"),
    ]


def test_other_objects_tell_where_their_specification_changed():
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "payments", "namespace": "shop"},
        "spec": {"selector": {"app": "payments"}},
    }
    after = changed(service, "spec", "selector", "app", "paymets")
    assert told(service, after) == [("config", "Service payments: /selector/app changed")]


def test_what_controllers_make_is_no_change():
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"nodeName": "a"},
    }
    assert told(pod, changed(pod, "spec", "nodeName", "b")) == []


def test_a_change_names_the_versions_it_lies_between():
    inventory = Inventory()
    (change,) = changes(deployment(), deployment("registry/payments:1.5.0"), inventory=inventory)
    versions = inventory.versions(("apps/v1", "Deployment", "shop", "payments"))
    assert (change.before, change.after) == (versions[0].id, versions[1].id)
    assert change.ts_ms == 1001
    assert json.loads(versions[0].manifest) == deployment()


def test_versions_that_mean_the_same_do_not_push_out_those_that_differ():
    inventory = Inventory()
    noise = [changed(deployment("registry/payments:1.5.0"), "status", "readyReplicas", number) for number in range(9)]
    changes(deployment(), *noise, inventory=inventory)
    assert len(inventory.versions(("apps/v1", "Deployment", "shop", "payments"))) == 2


def test_the_same_rows_tell_the_same_however_they_are_cut():
    manifests = [deployment(), deployment("registry/payments:1.5.0"), deployment(replicas=4)]
    whole = changes(*manifests)
    inventory, parts = Inventory(), []
    for number, one in enumerate(manifests):
        frame = rows(one, start=1000 + number).with_columns(offset=pl.lit(number, dtype=pl.Int64))
        parts += ObjectChanges().changes(events(), frame, inventory)
    assert parts == whole
    assert ObjectChanges().changes(events(), rows(manifests[-1], start=2000), inventory) == []


def test_a_deleted_workload_is_a_change_once():
    inventory = Inventory()
    changes(deployment(), inventory=inventory)
    gone = rows(deployment(), deployment(), deleted=True, start=2000)
    found = ObjectChanges().changes(events(), gone, inventory)
    assert [(one.kind, one.summary) for one in found] == [("deployment", "payments: Deployment deleted")]


def test_an_object_that_cannot_be_read_is_left_out():
    broken = rows(deployment()).with_columns(manifest=pl.lit("{"))
    assert ObjectChanges().changes(events(), broken, Inventory()) == []


def test_events_tell_where_objects_are_not_seen():
    rollout = (PAYMENTS, "ScalingReplicaSet", "Scaled up replica set payments-6d4 from 0 to 1")
    scaling = (PAYMENTS, "ScalingReplicaSet", "Scaled up replica set payments-6d4 from 1 to 3")
    rescale = (PAYMENTS, "SuccessfulRescale", "New size: 5; reason: cpu")
    lost = (NODE, "NodeNotReady", "Node node-1 status is now: NodeNotReady")
    pulled = (PAYMENTS, "Pulled", "Container image already present")
    found = ObjectChanges().changes(events(rollout, scaling, rescale, lost, pulled), rows(), Inventory())
    assert sorted((one.kind, one.summary) for one in found) == [
        ("deployment", "payments: rollout of replica set payments-6d4"),
        ("node", "node-1: NodeNotReady"),
        ("scale", "payments: New size: 5; reason: cpu"),
    ]
    seen = Inventory()
    changes(deployment(), inventory=seen)
    assert ObjectChanges().changes(events(rollout), rows(), seen) == []


# Edges.


POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "shop"},
    "spec": {"nodeName": "n7"},
}


def edges(*parts):
    return ObjectTopology().edges_of_objects(pl.concat(parts))


def test_pods_run_on_nodes_and_workloads_use_their_settings():
    settings = "demo/service/shop/settings"
    assert edges(rows(POD, deployment()), rows(config_map(a="1"), entity=settings)) == [
        (PAYMENTS, "demo/node/-/n7", "runs_on"),
        (PAYMENTS, settings, "uses"),
    ]


def test_what_belongs_to_another_entity_depends_on_it_and_never_on_itself():
    owned = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "child",
            "namespace": "shop",
            "ownerReferences": [{"kind": "Deployment", "name": "payments"}],
        },
    }
    assert edges(rows(deployment()), rows(owned, entity="demo/service/shop/child")) == [
        ("demo/service/shop/child", PAYMENTS, "owned_by")
    ]
    assert edges(rows(deployment(), owned)) == []


def test_a_service_uses_the_workload_that_it_selects():
    front = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "front", "namespace": "shop"},
        "spec": {"selector": {"app": "payments"}},
    }
    assert edges(rows(deployment()), rows(front, entity="demo/service/shop/front")) == [
        ("demo/service/shop/front", PAYMENTS, "uses")
    ]
    elsewhere = changed(front, "metadata", "namespace", "other")
    assert edges(rows(deployment()), rows(elsewhere, entity="demo/service/other/front")) == []


def test_deleted_and_unreadable_objects_have_no_edges():
    assert edges(rows(POD, deleted=True)) == []
    assert edges(rows(POD).with_columns(manifest=pl.lit("]"))) == []
