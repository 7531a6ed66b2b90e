"""Reading the inventory: an entity's workloads, who uses what, which change named which object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from autofix.patch import Manifest, parse_manifest
from engine.inventory import Inventory, ObjectKey, ObjectVersion
from engine.types import Change

WORKLOAD_KINDS = ("Deployment", "StatefulSet", "DaemonSet")


def member(document: object, *path: str | int) -> Any:
    """Return what stands at `path` in nested objects and lists, or None where anything on the way is missing."""
    for step in path:
        if isinstance(document, Mapping) and isinstance(step, str):
            document = document.get(step)
        elif isinstance(document, list) and isinstance(step, int) and step < len(document):
            document = document[step]
        else:
            return None
    return document


def objects(document: object, *path: str | int) -> list[Manifest]:
    """Return the objects in the list at `path`, or an empty list where there is none."""
    found = member(document, *path)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def newest_manifest(inventory: Inventory, key: ObjectKey) -> Manifest | None:
    """Return the newest manifest of an object that still exists, or None."""
    newest = inventory.newest(key)
    return parse_manifest(newest.manifest) if newest is not None else None


def of_kind(inventory: Inventory, kind: str, scope: str) -> Iterator[tuple[ObjectKey, ObjectVersion, Manifest]]:
    """Yield the existing objects of a kind in a scope with their newest version, by key in sorted order."""
    keys = inventory.keys()
    for key in keys:
        newest = inventory.newest(key) if key[1] == kind else None
        if newest is not None and newest.entity.partition("/")[0] == scope:
            yield key, newest, parse_manifest(newest.manifest)


def workloads_of(inventory: Inventory, entity: str) -> list[tuple[ObjectKey, Manifest]]:
    """Return the workloads (Deployment, StatefulSet, DaemonSet) of an entity with their newest manifests, by key."""
    found = []
    for key in inventory.of_entity(entity):
        manifest = newest_manifest(inventory, key) if key[1] in WORKLOAD_KINDS else None
        if manifest is not None:
            found.append((key, manifest))
    return found


def key_of_version(inventory: Inventory, version_id: str) -> ObjectKey | None:
    """Return the key of the object that a version belongs to, or None if the version is no longer kept."""
    if not version_id:
        return None
    keys = inventory.keys()
    return next((key for key in keys if any(one.id == version_id for one in inventory.versions(key))), None)


def changed_object(inventory: Inventory, change: Change) -> ObjectKey | None:
    """Return which object a change was about, or None when neither of its versions is kept."""
    return key_of_version(inventory, change.after) or key_of_version(inventory, change.before)


def containers(manifest: Mapping[str, Any]) -> list[Manifest]:
    """Return the containers of a workload's pod template (init containers left out)."""
    return objects(manifest, "spec", "template", "spec", "containers")


def config_map_names(manifest: Mapping[str, Any]) -> dict[str, bool]:
    """Return the ConfigMaps a workload uses: name to whether a change needs a restart to be noticed.

    Volumes are refreshed in running pods (unless mounted by `subPath`); environment variables never are.
    """
    pod = member(manifest, "spec", "template", "spec")
    by_sub_path = {
        mount.get("name")
        for one in containers(manifest)
        for mount in objects(one, "volumeMounts")
        if mount.get("subPath") or mount.get("subPathExpr")
    }
    uses: dict[str, bool] = {}
    for volume in objects(pod, "volumes"):
        for source in (volume, *objects(volume, "projected", "sources")):
            _note(uses, member(source, "configMap", "name"), volume.get("name") in by_sub_path)
    for one in (*containers(manifest), *objects(pod, "initContainers")):
        for variable in objects(one, "env"):
            _note(uses, member(variable, "valueFrom", "configMapKeyRef", "name"), True)
        for source in objects(one, "envFrom"):
            _note(uses, member(source, "configMapRef", "name"), True)
    return uses


def _note(uses: dict[str, bool], name: object, restart: bool) -> None:
    if isinstance(name, str):
        uses[name] = uses.get(name, False) or restart


def autoscaler_of(inventory: Inventory, workload: ObjectKey, scope: str) -> str | None:
    """Return the name of the HorizontalPodAutoscaler that owns a workload's replicas, or None."""
    _, kind, namespace, name = workload
    for key, _, manifest in of_kind(inventory, "HorizontalPodAutoscaler", scope):
        target = member(manifest, "spec", "scaleTargetRef")
        if key[2] == namespace and (member(target, "kind"), member(target, "name")) == (kind, name):
            return key[3]
    return None


def radius(entity: str, *others: Iterable[str]) -> tuple[str, ...]:
    """Return the entities that may notice: the one that is changed, and the others, sorted."""
    return tuple(sorted({entity, *(one for group in others for one in group)}))
