"""What a Kubernetes manifest means, apart from what the server stamps on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Manifest = dict[str, Any]

_STAMPED = ("managedFields", "resourceVersion", "generation", "selfLink", "annotations", "deletionTimestamp")


def member(document: object, *path: str) -> Any:
    """Return what stands at `path` in nested objects, or None where anything on the way is missing."""
    for step in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(step)
    return document


def objects(document: object, *path: str) -> list[Manifest]:
    """Return the objects in the list at `path`, or an empty list where there is none."""
    found = member(document, *path)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def meaning(manifest: Manifest) -> Manifest:
    """Return a manifest without what servers and heartbeats stamp on it: two versions that mean the same are equal.

    Of the status only what a cause or a fix may rest on is kept: a node's conditions, and why containers ended.
    """
    metadata = manifest.get("metadata") or {}
    kept = {name: value for name, value in manifest.items() if name not in ("metadata", "status")}
    kept["metadata"] = {name: value for name, value in metadata.items() if name not in _STAMPED}
    status = _telling_status(str(manifest.get("kind")), manifest.get("status"))
    return {**kept, "status": status} if status else kept


def _telling_status(kind: str, status: object) -> Any:
    if kind == "Node":
        return [[one.get("type"), one.get("status")] for one in objects(status, "conditions")]
    if kind == "Pod":
        return [
            [one.get("name"), member(one, "state", "waiting", "reason"), *_ends(one)]
            for one in objects(status, "containerStatuses")
        ]
    if kind == "ResourceQuota":
        return member(status, "used")
    return None


def _ends(container_status: Manifest) -> list[Any]:
    ends = (member(container_status, state, "terminated") for state in ("state", "lastState"))
    return [[member(one, "reason"), member(one, "finishedAt")] for one in ends]


def differing(before: object, after: object, path: str) -> Iterator[str]:
    """Yield where two values differ, as paths in sorted order; lists of named things are compared by name."""
    if before == after:
        return
    if isinstance(before, list) and isinstance(after, list):
        before, after = _by_name(before), _by_name(after)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted(before.keys() | after.keys(), key=str):
            yield from differing(before.get(name), after.get(name), f"{path}/{name}")
    else:
        yield path


def _by_name(values: list[Any]) -> Any:
    names = [one.get("name") for one in values if isinstance(one, Mapping)]
    complete = len(names) == len(values) and all(names) and len(set(names)) == len(names)
    return {one["name"]: one for one in values} if complete else values
