"""Example situations, one a remedy, made of small objects: what the conformance checks run every playbook on.

They are also the shortest way to see what a playbook needs. Names and times are invented.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autofix.patch import Manifest, canonical
from autofix.situation import Situation
from engine.ids import content_id
from engine.inventory import Inventory, ObjectKey, ObjectVersion
from engine.types import Anomaly, Cause, Change, Evidence, Incident, Phase, Ranking, Severity

ONSET_MS = 1_700_000_000_000
SERVICE = "demo/service/shop/payments"
GATEWAY = "demo/service/shop/gateway"
NODE = "demo/node/-/node-1"


def deployment(image: str = "payments:1.4.2", replicas: int = 2, memory: str = "256Mi", **pod: Any) -> Manifest:
    """Return a Deployment `payments` with one container."""
    container = {
        "name": "payments",
        "image": image,
        "resources": {"limits": {"memory": memory}, "requests": {"cpu": "100m"}},
        "envFrom": [{"configMapRef": {"name": "payments"}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "payments", "namespace": "shop", "labels": {"app": "payments"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "payments"}},
            "template": {"metadata": {"labels": {"app": "payments"}}, "spec": {"containers": [container], **pod}},
        },
    }


def config_map(**data: str) -> Manifest:
    """Return a ConfigMap `payments`."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "payments", "namespace": "shop"},
        "data": data,
    }


def node(name: str, ready: bool = True) -> Manifest:
    """Return a Node."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"podCIDR": "10.0.0.0/24"},
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def key_of(manifest: Manifest) -> ObjectKey:
    """Return the key under which an inventory holds a manifest."""
    metadata = manifest["metadata"]
    return (manifest["apiVersion"], manifest["kind"], metadata.get("namespace", ""), metadata["name"])


def version_of(manifest: Manifest, entity: str, ts_ms: int) -> ObjectVersion:
    """Return a manifest as a version of its object."""
    text = canonical(manifest)
    return ObjectVersion(content_id("obj", key_of(manifest), ts_ms, text), ts_ms, entity, text, deleted=False)


def inventory_of(*versions: tuple[Manifest, str, int]) -> Inventory:
    """Return an inventory of (manifest, entity, time) in that order."""
    inventory = Inventory()
    for manifest, entity, ts_ms in versions:
        inventory.add(key_of(manifest), version_of(manifest, entity, ts_ms))
    return inventory


def anomaly(
    entity: str, indicator: str, direction: int, observed: float, form: str = "gauge", text: str = ""
) -> Anomaly:
    """Return an anomaly that starts at the onset."""
    return Anomaly(
        id=content_id("anm", entity, indicator, ONSET_MS),
        entity=entity,
        indicator=indicator,
        form=form,
        detectors=("zscore",),
        start_ms=ONSET_MS,
        end_ms=ONSET_MS + 60_000,
        direction=direction,
        expected_lo=0.0,
        expected_hi=1.0,
        observed=observed,
        tail_p=1e-9,
        severity=Severity.CRITICAL,
        text=text,
    )


def situation_of(
    inventory: Inventory, anomalies: Sequence[Anomaly], changes: Sequence[Change] = (), entity: str = SERVICE
) -> Situation:
    """Return the situation in which `entity` is the first cause of an incident."""
    evidence = tuple(
        Evidence(
            entity=one.entity,
            indicator=one.indicator,
            kind="metric",
            direction=one.direction,
            strength=0.9,
            at_ms=one.start_ms,
            text=f"{one.indicator} of {one.entity.rpartition('/')[2]} is {one.observed:g}",
        )
        for one in anomalies
    )
    cause = Cause(entity, 0.9, evidence, (entity, GATEWAY))
    incident = Incident(
        id=content_id("inc", entity, ONSET_MS),
        revision=1,
        scope="demo",
        phase=Phase.OPEN,
        severity=Severity.CRITICAL,
        title="payments is slow",
        opened_ms=ONSET_MS + 60_000,
        updated_ms=ONSET_MS + 60_000,
        resolved_ms=None,
        entities=tuple(sorted({entity, GATEWAY})),
        anomalies=tuple(anomalies),
        changes=tuple(changes),
        transitions=(),
        ranking=Ranking((cause,)),
    )
    return Situation(incident, cause, inventory, ONSET_MS + 120_000)


def change_of(before: Manifest, after: Manifest, entity: str, ts_ms: int, kind: str, summary: str) -> Change:
    """Return the change between two manifests of one object, the first seen an hour earlier."""
    ids = version_of(before, entity, ts_ms - 3_600_000).id, version_of(after, entity, ts_ms).id
    return Change(content_id("chg", entity, ts_ms, kind, summary), entity, ts_ms, kind, summary, *ids)


def bad_deployment() -> Situation:
    """Return: payments got a new image 40 s before its latency rose."""
    before, after = deployment(), deployment("payments:1.5.0")
    at_ms = ONSET_MS - 40_000
    change = change_of(before, after, SERVICE, at_ms, "deployment", "payments: image 1.4.2 -> 1.5.0")
    inventory = inventory_of((before, SERVICE, at_ms - 3_600_000), (after, SERVICE, at_ms))
    return situation_of(inventory, [anomaly(SERVICE, "span.p99_ms", 1, 1900.0, "duration")], [change])


def bad_config() -> Situation:
    """Return: a timeout in the ConfigMap of payments changed 30 s before its errors rose."""
    before, after = config_map(TIMEOUT_MS="2000", MODE="fast"), config_map(TIMEOUT_MS="2", POOL="4")
    at_ms = ONSET_MS - 30_000
    change = change_of(before, after, SERVICE, at_ms, "config", "ConfigMap payments: MODE, POOL, TIMEOUT_MS")
    inventory = inventory_of(
        (before, SERVICE, at_ms - 3_600_000), (deployment(), SERVICE, at_ms - 3_600_000), (after, SERVICE, at_ms)
    )
    return situation_of(inventory, [anomaly(SERVICE, "span.error_ratio", 1, 0.6, "ratio")], [change])


def out_of_memory() -> Situation:
    """Return: payments was OOM-killed; the quota has room."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "shop", "namespace": "shop"},
        "spec": {"hard": {"limits.memory": "4Gi"}},
        "status": {"hard": {"limits.memory": "4Gi"}, "used": {"limits.memory": "1Gi"}},
    }
    early = ONSET_MS - 3_600_000
    inventory = inventory_of((deployment(), SERVICE, early), (quota, "demo/account/-/shop", early))
    return situation_of(inventory, [anomaly(SERVICE, "event.OOMKilling", 1, 3.0, "count")])


def failing_node() -> Situation:
    """Return: node-1 is not ready, node-2 is."""
    early = ONSET_MS - 3_600_000
    inventory = inventory_of((node("node-1", ready=False), NODE, early), (node("node-2"), "demo/node/-/node-2", early))
    return situation_of(inventory, [anomaly(NODE, "event.NodeNotReady", 1, 1.0, "count")], entity=NODE)


def saturation() -> Situation:
    """Return: payments uses all its CPU, no change before it."""
    inventory = inventory_of((deployment(replicas=3), SERVICE, ONSET_MS - 3_600_000))
    return situation_of(inventory, [anomaly(SERVICE, "cpu_usage", 1, 0.99)])


def stuck() -> Situation:
    """Return: payments fails its probes, no change before it."""
    inventory = inventory_of((deployment(), SERVICE, ONSET_MS - 3_600_000))
    return situation_of(inventory, [anomaly(SERVICE, "event.Unhealthy", 1, 6.0, "count")])


EXAMPLES = (bad_deployment, bad_config, out_of_memory, failing_node, saturation, stuck)
"""Every example situation; each is what one of the bundled playbooks is for."""
