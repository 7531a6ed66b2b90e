"""Learns edges of the topology from Kubernetes objects: what runs where, what belongs to what, what uses what.

Who calls whom comes from spans, which the engine joins; a graph file is read by `rca.graph_file`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl

from engine.ids import scope_of
from rca.manifests import Manifest, member, objects

_Named = tuple[str, str, str]  # (kind, namespace, name)


@dataclass(frozen=True, slots=True)
class ObjectTopology:
    """Reads edges from objects (engine.ports.TopologyLearner). Stateless: it sees one window's objects at a time.

    runs_on   a pod's workload on its node
    owned_by  an object on its owner, where the two are different entities
    uses      a workload on the ConfigMap it reads, a Service on the workload it selects, where these are entities of
              their own and were seen in the same window
    """

    def edges_of_objects(self, objects: pl.DataFrame) -> list[tuple[str, str, str]]:
        """Return (source, target, kind) edges, each once, sorted; source depends on target."""
        seen = [
            (row["entity"], manifest)
            for row in objects.iter_rows(named=True)
            if not row["deleted"] and (manifest := _parse(row["manifest"])) is not None
        ]
        entities = {_name_of(manifest): entity for entity, manifest in seen}
        found = {edge for entity, manifest in seen for edge in _edges(entity, manifest, entities)}
        found |= set(_selected(seen))
        return sorted(edge for edge in found if edge[0] != edge[1])


def _parse(text: str) -> Manifest | None:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:
        return None


def _name_of(manifest: Manifest) -> _Named:
    metadata = manifest.get("metadata") or {}
    return (str(manifest.get("kind")), str(metadata.get("namespace") or ""), str(metadata.get("name")))


def _edges(entity: str, manifest: Manifest, entities: Mapping[_Named, str]) -> Iterator[tuple[str, str, str]]:
    kind, namespace, _ = _name_of(manifest)
    node = member(manifest, "spec", "nodeName")
    if kind == "Pod" and node:
        yield entity, f"{scope_of(entity)}/node/-/{node}", "runs_on"
    for owner in objects(manifest, "metadata", "ownerReferences"):
        target = entities.get((str(owner.get("kind")), namespace, str(owner.get("name"))))
        if target is not None:
            yield entity, target, "owned_by"
    for name in sorted(_config_maps(member(manifest, "spec", "template", "spec"))):
        target = entities.get(("ConfigMap", namespace, name))
        if target is not None:
            yield entity, target, "uses"


def _config_maps(pod: object) -> set[str]:
    names = [member(volume, "configMap", "name") for volume in objects(pod, "volumes")]
    for one in objects(pod, "containers") + objects(pod, "initContainers"):
        names += [member(source, "configMapRef", "name") for source in objects(one, "envFrom")]
        names += [member(variable, "valueFrom", "configMapKeyRef", "name") for variable in objects(one, "env")]
    return {str(name) for name in names if name}


def _selected(seen: list[tuple[str, Manifest]]) -> Iterator[tuple[str, str, str]]:
    """Yield an edge from every Service to each workload whose pods it selects."""
    templates = [
        (entity, _name_of(manifest)[1], member(manifest, "spec", "template", "metadata", "labels"))
        for entity, manifest in seen
    ]
    workloads = [one for one in templates if isinstance(one[2], Mapping)]
    for entity, manifest in seen:
        selector = member(manifest, "spec", "selector")
        if manifest.get("kind") != "Service" or not isinstance(selector, Mapping) or not selector:
            continue
        for target, namespace, labels in workloads:
            if namespace == _name_of(manifest)[1] and selector.items() <= labels.items():
                yield entity, target, "uses"
