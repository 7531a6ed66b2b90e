"""Kubernetes objects as they were at a time: what owns what, what changed, and what a fix would touch."""

from __future__ import annotations

from dataclasses import dataclass

ObjectKey = tuple[str, str, str, str]
"""(api_version, kind, namespace, name)"""


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One object as it was from `ts_ms` on; `manifest` is canonical JSON, `deleted` says it was gone."""

    id: str
    ts_ms: int
    entity: str
    manifest: str
    deleted: bool


class Inventory:
    """The last few versions of every object of a scope, oldest first; bounded by `keep` versions an object."""

    __slots__ = ("_keep", "_versions")

    def __init__(self, keep: int = 4, versions: dict[ObjectKey, list[ObjectVersion]] | None = None) -> None:
        self._keep = keep
        self._versions: dict[ObjectKey, list[ObjectVersion]] = versions or {}

    def add(self, key: ObjectKey, version: ObjectVersion) -> ObjectVersion | None:
        """Store `version` if it differs from the newest one; return the version it replaces.

        None when nothing changed, or when it is the first.
        """
        known = self._versions.setdefault(key, [])
        before = known[-1] if known else None
        if before is not None and (before.manifest, before.deleted) == (version.manifest, version.deleted):
            return None
        known.append(version)
        del known[: -self._keep]
        return before

    def newest(self, key: ObjectKey) -> ObjectVersion | None:
        """Return the newest version of an object that still exists, or None."""
        known = self._versions.get(key)
        return known[-1] if known and not known[-1].deleted else None

    def versions(self, key: ObjectKey) -> list[ObjectVersion]:
        """Return the kept versions of an object, oldest first."""
        return list(self._versions.get(key, ()))

    def version(self, version_id: str) -> ObjectVersion | None:
        """Return the version with this id, or None if it is no longer kept."""
        return next((one for known in self._versions.values() for one in known if one.id == version_id), None)

    def keys(self) -> list[ObjectKey]:
        """Return the keys of all objects, sorted."""
        return sorted(self._versions)

    def of_entity(self, entity: str) -> list[ObjectKey]:
        """Return the keys of existing objects that belong to `entity`, sorted."""
        return sorted(
            key for key, known in self._versions.items() if known[-1].entity == entity and not known[-1].deleted
        )
