"""Reads changes out of Kubernetes objects and events: what was done to whom, when, and which versions it lies between.

A change is something that was *done*: a new pod template, other configuration, another number of replicas, a node that
went away. A status that moved, an annotation, a restart or an object seen for the first time is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl

from engine.ids import content_id
from engine.inventory import Inventory, ObjectKey, ObjectVersion
from engine.types import Change
from rca.event_changes import WORKLOADS, of_event
from rca.manifests import Manifest, differing, meaning, member, objects

_DERIVED = ("Pod", "ReplicaSet", "Job", "Event", "Endpoints", "EndpointSlice", "Lease", "ControllerRevision")
_TELLING = re.compile(r"true|false|[-+]?\d+(\.\d+)?([a-zA-Z%]{1,3})?")  # values that can be shown: never a password
_RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class ObjectChanges:
    """Finds changes (engine.ports.ChangeDetector). Holds nothing itself: what was before stands in the inventory."""

    def changes(self, events: pl.DataFrame, objects: pl.DataFrame, inventory: Inventory) -> list[Change]:
        """Return what was changed, in time order; stores each meaningful object version in `inventory`.

        `objects` are taken in their order. An object whose manifest cannot be read as JSON is left out: it was refused
        when it was decoded, so it never comes here from a format of ours.
        """
        found = [change for row in objects.iter_rows(named=True) for change in _of_object(row, inventory)]
        found += [change for row in events.iter_rows(named=True) for change in of_event(row, inventory)]
        unique = {one.id: one for one in found}
        return sorted(unique.values(), key=lambda one: (one.ts_ms, one.entity, one.kind, one.id))


def _of_object(row: dict[str, Any], inventory: Inventory) -> Iterator[Change]:
    key: ObjectKey = (row["api_version"], row["object_kind"], row["namespace"], row["name"])
    text, deleted, ts_ms, entity = row["manifest"], bool(row["deleted"]), int(row["ts_ms"]), row["entity"]
    known = inventory.versions(key)
    after = _parse(text)
    if after is None and not deleted:
        return
    before = _parse(known[-1].manifest) if known else None
    if known and known[-1].deleted == deleted and (deleted or _same(before, after)):
        return
    version = ObjectVersion(content_id("obj", key, ts_ms, text, deleted), ts_ms, entity, text, deleted)
    inventory.add(key, version)
    if not known:
        return
    gone = known[-1].deleted
    if deleted or gone:
        steps = [(_kind_of(key[1]), f"{key[3]}: {key[1]} {'deleted' if deleted else 'created again'}")]
    else:
        steps = list(_steps(key, before or {}, after or {}))
    for kind, summary in steps:
        change_id = content_id("chg", entity, ts_ms, kind, summary)
        yield Change(change_id, entity, ts_ms, kind, summary, known[-1].id, version.id)


def _parse(text: str) -> Manifest | None:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:
        return None


def _same(before: Manifest | None, after: Manifest | None) -> bool:
    return before is not None and after is not None and meaning(before) == meaning(after)


def _kind_of(object_kind: str) -> str:
    if object_kind in WORKLOADS or object_kind == "CronJob":
        return "deployment"
    if object_kind in _DERIVED:
        return "event"
    return {"Node": "node", "HorizontalPodAutoscaler": "scale"}.get(object_kind, "config")


def _steps(key: ObjectKey, before: Manifest, after: Manifest) -> Iterator[tuple[str, str]]:
    """Yield (kind, summary) of every change between two versions of one object."""
    _, kind, _, name = key
    if kind in _DERIVED:
        return
    if kind in WORKLOADS:
        yield from _of_workload(name, before, after)
    elif kind == "ConfigMap":
        changed = _data_changes(before, after)
        if changed:
            yield "config", f"ConfigMap {name}: {_listed(changed)}"
    elif kind == "Node":
        yield from _of_node(name, before, after)
    else:
        where = list(differing(before.get("spec"), after.get("spec"), ""))
        if where:
            yield _kind_of(kind), f"{kind} {name}: {_listed([path or 'spec' for path in where])} changed"


def _of_workload(name: str, before: Manifest, after: Manifest) -> Iterator[tuple[str, str]]:
    old, new = (_template(one) for one in (before, after))
    where = list(differing(old, new, ""))
    if where:
        yield "deployment", f"{name}: {_listed(_images(old, new) or [path + ' changed' for path in where])}"
    counts = member(before, "spec", "replicas"), member(after, "spec", "replicas")
    if counts[0] != counts[1]:
        yield "scale", f"{name}: replicas {counts[0]} -> {counts[1]}"
    others = list(differing(_remainder(before), _remainder(after), ""))
    if others:
        yield "config", f"{name}: {_listed(others)} changed"


def _remainder(manifest: Manifest) -> Manifest:
    spec = manifest.get("spec") or {}
    return {name: value for name, value in spec.items() if name not in ("template", "replicas")}


def _template(manifest: Manifest) -> Manifest:
    """Return the pod template without the annotation that a restart leaves."""
    template = member(manifest, "spec", "template") or {}
    metadata = template.get("metadata") or {}
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != _RESTARTED_AT}
    kept = {k: v for k, v in metadata.items() if k != "annotations"}
    return {**template, "metadata": {**kept, "annotations": annotations} if annotations else kept}


def _images(old: Manifest, new: Manifest) -> list[str]:
    """Return which containers run other images, in words."""
    before = {one.get("name"): str(one.get("image")) for one in objects(old, "spec", "containers")}
    after = {one.get("name"): str(one.get("image")) for one in objects(new, "spec", "containers")}
    changed = [name for name in sorted(after, key=str) if name in before and before[name] != after[name]]
    several = len(after) > 1
    return [
        f"image{f' of {name}' if several else ''} {' -> '.join(_tags(before[name], after[name]))}" for name in changed
    ]


def _tags(before: str, after: str) -> tuple[str, str]:
    """Return two images as their tags where the repository is the same."""
    (old, old_tag), (new, new_tag) = (_split_image(one) for one in (before, after))
    return (old_tag, new_tag) if old == new and old_tag and new_tag else (before, after)


def _split_image(image: str) -> tuple[str, str]:
    if "@" in image:
        repository, _, digest = image.partition("@")
        return repository.partition(":")[0], digest.rpartition(":")[2][:12]
    folder, _, last = image.rpartition("/")
    name, _, tag = last.partition(":")
    return f"{folder}/{name}", tag


def _data_changes(before: Manifest, after: Manifest) -> list[str]:
    """Return what happened to each key of a ConfigMap, in words; values only where they are numbers or switches."""
    found = []
    for field in ("data", "binaryData"):
        old, new = before.get(field) or {}, after.get(field) or {}
        for key in sorted(old.keys() | new.keys()):
            if key not in new:
                found.append(f"{key} removed")
            elif key not in old:
                found.append(f"{key} added")
            elif old[key] != new[key]:
                plain = all(_TELLING.fullmatch(str(one)) for one in (old[key], new[key]))
                found.append(f"{key} {old[key]} -> {new[key]}" if plain else f"{key} changed")
    return found


def _of_node(name: str, before: Manifest, after: Manifest) -> Iterator[tuple[str, str]]:
    cordoned = [member(one, "spec", "unschedulable") is True for one in (before, after)]
    if cordoned[0] != cordoned[1]:
        yield "node", f"{name}: {'cordoned' if cordoned[1] else 'takes pods again'}"
    old, new = (
        {one.get("type"): one for one in objects(manifest, "status", "conditions")} for manifest in (before, after)
    )
    for kind in sorted(old.keys() & new.keys(), key=str):
        statuses = old[kind].get("status"), new[kind].get("status")
        if statuses[0] != statuses[1]:
            yield "node", f"{name}: {kind} {statuses[0]} -> {statuses[1]} ({new[kind].get('reason')})"


def _listed(parts: list[str]) -> str:
    more = f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    return ", ".join(parts[:_SHOWN]) + more
