"""One pod is one entity, whoever speaks of it; every rule can be explained."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ConfigError
from ingest.identity import ASKED_LABELS, UNATTRIBUTED, Identity, owners_of

DEMO = Identity("demo")
STORE = "demo/service/shop/store"
POD = "store-77tk444p6s-2jpfw"


@pytest.mark.parametrize(
    ("pod", "workload"),
    [
        ("payments-7d9c5b8f4d-x2x9z", "payments"),
        ("cartservice-579f59597d-wc2lz", "cartservice"),
        ("my-long-name-6d4cf56db6-9xkzq", "my-long-name"),
        ("web-5f6585-fnmft", "web"),  # 6 characters of hash
        ("db-0", "db"),
        ("kafka-broker-12", "kafka-broker"),
        ("fluentd-x7k2p", "fluentd"),
        ("backup-28391040-x7k2p", "backup"),  # of a CronJob's Job
        ("node-agent", "node-agent"),  # words are no hashes, however long
        ("redis-cache", "redis-cache"),
        ("my-payment-cache", "my-payment-cache"),
        ("etcd", "etcd"),
    ],
)
def test_a_pods_name_gives_its_workload(pod: str, workload: str) -> None:
    assert DEMO.of_pod(pod, "shop") == f"demo/service/shop/{workload}"


def test_one_pod_is_one_entity_in_every_input() -> None:
    owner = [{"kind": "ReplicaSet", "name": "store-77tk444p6s", "controller": True}]
    labels = {"app": "store", "pod-template-hash": "77tk444p6s"}
    metadata = {"name": POD, "namespace": "shop", "labels": labels, "ownerReferences": owner}
    spoken = {
        DEMO.of_pod(POD, "shop", labels),
        DEMO.of_pod(POD, "shop", None, owners_of(owner)),
        DEMO.of_labels({"__name__": "up", "pod": POD, "namespace": "shop", "service": "store", "job": "shop/store"}),
        DEMO.of_labels({"__name__": "container_cpu_usage_seconds_total", "pod": POD, "namespace": "shop"}),
        DEMO.of_resource({"service.name": "store", "k8s.namespace.name": "shop", "k8s.pod.name": POD}),
        DEMO.of_resource({"service.name": "store", "k8s.namespace.name": "shop"}),
        DEMO.of_object({"kind": "Pod", "metadata": metadata}),
        DEMO.of_involved("Pod", "shop", POD, labels, owners_of(owner)),
        DEMO.of_involved("Pod", "shop", POD),
    }
    assert spoken == {STORE}


def test_labels_do_not_split_a_pod_from_inputs_that_lack_them() -> None:
    helm = {"app.kubernetes.io/name": "redis", "app.kubernetes.io/instance": "shop-redis"}
    assert DEMO.of_pod("shop-redis-master-0", "shop", helm) == DEMO.of_labels(
        {"pod": "shop-redis-master-0", "namespace": "shop"}
    )


@pytest.mark.parametrize(
    "manifest",
    [
        {"kind": "Deployment", "metadata": {"name": "store", "namespace": "shop"}},
        {"kind": "ReplicaSet", "metadata": {"name": "store-77tk444p6s", "namespace": "shop"}},
        {
            "kind": "ReplicaSet",
            "metadata": {
                "name": "odd",
                "namespace": "shop",
                "ownerReferences": [{"kind": "Deployment", "name": "store"}],
            },
        },
        {
            "kind": "Service",
            "metadata": {"name": "store-headless", "namespace": "shop"},
            "spec": {"selector": {"app": "store"}},
        },
        {"kind": "Service", "metadata": {"name": "store", "namespace": "shop"}},
        {"kind": "ConfigMap", "metadata": {"name": "store-config", "namespace": "shop"}},
        {"kind": "ConfigMap", "metadata": {"name": "x", "namespace": "shop", "labels": {"app": "store"}}},
        {"kind": "Secret", "metadata": {"name": "store-credentials", "namespace": "shop"}},
        {
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "scale-it", "namespace": "shop"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "store"}},
        },
    ],
    ids=lambda manifest: f"{manifest['kind']}-{manifest['metadata']['name']}",
)
def test_objects_belong_to_their_workloads_service(manifest: dict) -> None:
    assert DEMO.of_object(manifest) == STORE


@pytest.mark.parametrize(
    ("labels", "entity"),
    [
        ({"__name__": "node_load1", "instance": "n1:9100", "pod": "node-exporter-x7k2p"}, "demo/node/-/n1"),
        ({"__name__": "node_load1", "instance": "10.0.0.1:9100", "nodename": "n1"}, "demo/node/-/n1"),
        ({"__name__": "machine_memory_bytes", "node": "n1"}, "demo/node/-/n1"),
        ({"__name__": "kube_node_status_condition", "node": "n1", "pod": "ksm-0"}, "demo/node/-/n1"),
        ({"__name__": "up", "pod": "ksm-0", "exported_pod": POD, "exported_namespace": "shop"}, STORE),
        ({"deployment": "store", "namespace": "shop"}, STORE),
        ({"service": "store", "namespace": "shop"}, STORE),
        ({"k8s-app": "store", "namespace": "shop"}, STORE),
        ({"job": "shop/store"}, STORE),
        ({"instance": "[fe80::1]:80"}, "demo/service/default/fe80::1"),
        ({}, f"demo/service/default/{UNATTRIBUTED}"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_metric_labels(labels: dict[str, str], entity: str) -> None:
    assert DEMO.of_labels(labels) == entity
    assert DEMO.explain(labels)[1]


def test_explain_names_the_rule() -> None:
    assert DEMO.explain({"pod": POD, "namespace": "shop"}) == (STORE, "name's shape: pod of a deployment")
    assert DEMO.explain({"app": "store", "namespace": "shop"}) == (STORE, "label app")


def test_an_override_reaches_inputs_without_the_label() -> None:
    legacy = Identity("demo", overrides={"app=store": "prod/service/shop/legacy"})
    assert legacy.of_labels({"app": "store", "namespace": "x"}) == "prod/service/shop/legacy"
    assert legacy.of_pod(POD, "shop") == "prod/service/shop/legacy"
    assert legacy.of_resource({"service.name": "store"}) == "prod/service/shop/legacy"
    assert legacy.explain({"pod": POD})[1] == "override app=store"
    assert legacy.of_pod("cart-0", "shop") == "demo/service/shop/cart"
    assert legacy.scopes == ("demo", "prod")


@pytest.mark.parametrize("overrides", [{"app": "a/service/b/c"}, {"app=x": "legacy"}, {"app=x": "a/b/c/"}])
def test_a_malformed_override_is_refused(overrides: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"identity\.overrides"):
        Identity(overrides=overrides)


def test_nodes_and_accounts_have_no_namespace() -> None:
    assert DEMO.node("33.33.33.116:9100") == "demo/node/-/33.33.33.116"
    assert DEMO.account("Amazon EC2+eu-west-1") == "demo/account/-/Amazon_EC2+eu-west-1"
    assert DEMO.of_involved("Node", "default", "n1") == "demo/node/-/n1"


words = st.text(max_size=30)


@given(words, words, st.dictionaries(words, words, max_size=4))
def test_anything_becomes_an_entity_of_four_parts(one: str, two: str, labels: dict[str, str]) -> None:
    for entity in (
        DEMO.of_pod(one, two, labels),
        DEMO.of_labels(labels | {"pod": one, "namespace": two}),
        DEMO.of_resource({one: two, **labels}),
        DEMO.of_involved(one, two, one, labels),
        DEMO.of_object({"kind": one, "metadata": labels, "spec": two}),
        DEMO.node(one),
        DEMO.account(two),
    ):
        parts = entity.split("/")
        assert len(parts) == 4
        assert all(parts)
        assert entity.split() == [entity]


def test_the_order_of_labels_does_not_matter() -> None:
    labels = {"app": "a", "service": "b", "component": "c", "namespace": "n", "node": "x"}
    assert Identity().of_labels(labels) == Identity().of_labels(dict(reversed(labels.items())))


def test_control_characters_are_no_part_of_a_name() -> None:
    assert Identity("demo").service("pay\x1b[31mments\x00\u202e", "sh\x07op") == "demo/service/shop/pay[31mments"
    assert Identity("demo").service("a\tb\x1fc") == "demo/service/default/a_b_c"
    assert Identity("demo").node("\x00") == "demo/node/-/-"


class Asked(dict[str, str]):
    """Labels that note which of them are asked for."""

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self.names: set[str] = set()

    def get(self, key: str, default: object = None) -> object:  # type: ignore[override]
        self.names.add(key)
        return super().get(key, default)


METRICS = [
    "up",
    "node_load1",
    "container_cpu",
    "probe_success",
    "kube_pod_info",
    "machine_x",
    "kubelet_x",
    "http_total",
]
SAID = ["store", "store-7d9c5b8f4d-x2x9z", "db-0", "n1:9100", "shop", "Job", "destination", "source", "node", "a/b", ""]


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(METRICS),
    st.dictionaries(st.sampled_from(sorted(ASKED_LABELS)), st.sampled_from(SAID), max_size=6),
    st.dictionaries(st.sampled_from(["code", "method", "le"]), st.sampled_from(SAID)),
)
def test_an_entity_depends_only_on_the_labels_that_are_asked(
    metric: str, labels: dict[str, str], others: dict[str, str]
) -> None:
    asked = Asked({"__name__": metric} | labels)
    wanted = Identity("demo")._of_labels(asked)
    assert asked.names <= ASKED_LABELS | {"__name__"}
    identity = Identity("demo")
    alike = [name for name in METRICS if identity._asked({"__name__": name}) == identity._asked({"__name__": metric})]
    for name in alike:
        identity.of_labels({"__name__": name} | labels | others)
    assert len(identity._cache) == 1
    assert identity.explain({"__name__": metric} | labels)[1] == wanted[3]
    for name in METRICS:
        assert identity.of_labels({"__name__": name} | labels) == Identity("demo").of_labels(
            {"__name__": name} | labels
        )
