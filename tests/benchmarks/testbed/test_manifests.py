"""The objects are what an API server would return: every supported schema accepts them, strictly."""

from collections.abc import Iterator
from dataclasses import replace

import kubernetes_validate
import pytest

from benchmarks.testbed import catalogue, manifests
from benchmarks.testbed.manifests import Manifest, PodNames, Release

AT_NS = 1_755_856_800_123_456_000
PAYMENTS = catalogue.service("payments")
OLD = Release(PAYMENTS, "1.4.2", 1, "uid-deployment", "uid-rs-1", AT_NS, AT_NS)
NEW = replace(OLD, version="1.5.0", revision=2, replica_set_uid="uid-rs-2")
NAMES = PodNames(f"{OLD.replica_set}-x2x9k", "uid-pod", "10.244.1.7", "ab" * 32, AT_NS)
NODE = catalogue.NODES[0]


def every_object() -> Iterator[Manifest]:
    yield manifests.node(NODE, "uid-node", AT_NS)
    yield manifests.config_map(PAYMENTS, "uid-config", AT_NS)
    yield manifests.service(PAYMENTS, "uid-service", AT_NS, "10.96.0.12")
    yield manifests.deployment(OLD, updated=0, ready=0)
    yield manifests.deployment(NEW, updated=1, ready=1)
    yield manifests.replica_set(OLD, 0)
    yield manifests.pod(OLD, NAMES, NODE, None, None)
    yield manifests.pod(OLD, NAMES, NODE, AT_NS, None)
    yield manifests.pod(OLD, NAMES, NODE, AT_NS, AT_NS)


@pytest.mark.parametrize("manifest", list(every_object()), ids=lambda one: one["kind"])
def test_the_schema_accepts_the_object_strictly(manifest: Manifest) -> None:
    kubernetes_validate.validate(manifest, "1.32", strict=True)


def test_the_schema_check_would_refuse_a_misspelt_field() -> None:
    broken = manifests.deployment(OLD, updated=1, ready=1)
    broken["spec"]["replica"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.32", strict=True)


def test_a_new_version_is_a_new_replica_set_of_the_same_deployment() -> None:
    old, new = manifests.replica_set(OLD, 0), manifests.replica_set(NEW, 1)
    assert old["metadata"]["name"] != new["metadata"]["name"]
    assert old["metadata"]["ownerReferences"] == new["metadata"]["ownerReferences"]
    image = new["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == "registry.example/shop/payments:1.5.0"
    assert new["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"


def test_a_pod_can_be_followed_to_its_deployment() -> None:
    pod = manifests.pod(OLD, NAMES, NODE, AT_NS, None)
    owner = pod["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("ReplicaSet", OLD.replica_set)
    assert pod["metadata"]["labels"]["pod-template-hash"] == OLD.replica_set.removeprefix("payments-")
    assert pod["spec"]["nodeName"] == "shop-node-1"


def test_the_hash_depends_on_the_template_alone() -> None:
    later = replace(OLD, replica_set_uid="another", created_ns=AT_NS + 1)
    assert later.pod_template_hash == OLD.pod_template_hash
