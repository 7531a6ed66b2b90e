"""The shadow copy: objects as they were last seen, on which actions are tried without touching anything real.

It proves that patches apply and that their undo is exact. It runs no workload, so it says nothing about symptoms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import TracebackType

from autofix.patch import apply_operations, canonical, parse_manifest, parse_operations, target_of
from engine.errors import DataError
from engine.inventory import Inventory, ObjectKey
from engine.types import Action


@lru_cache(maxsize=4096)  # the same few thousand objects come again with every revision of every incident
def _canonical_text(text: str) -> str:
    return canonical(parse_manifest(text))


class ShadowSandbox:
    """A copy of the newest manifests of `inventory` (engine.ports.Sandbox). Memory: one text an object."""

    __slots__ = ("_entry", "_now", "_source")

    def __init__(self, inventory: Inventory) -> None:
        self._source = inventory
        self._entry: dict[ObjectKey, str] = {}
        self._now: dict[ObjectKey, str] = {}

    def __enter__(self) -> ShadowSandbox:
        keys = self._source.keys()
        for key in keys:
            newest = self._source.newest(key)
            if newest is not None:
                self._entry[key] = _canonical_text(newest.manifest)
        self.restore()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entry.clear()
        self._now.clear()

    def apply(self, actions: Sequence[Action]) -> None:
        """Apply actions in order; raise DataError naming the first that does not apply (the ones before it stay)."""
        for one in actions:
            try:
                self._apply(one)
            except DataError as error:
                raise DataError(f"{one.verb} {one.kind} {one.namespace}/{one.name}: {error}") from error

    def _apply(self, one: Action) -> None:
        key = target_of(one)
        known = self._now.get(key)
        if one.verb == "create":
            if known is not None:
                raise DataError("exists already")
            self._now[key] = canonical(parse_manifest(one.body))
        elif known is None:
            raise DataError("no such object in the inventory")
        elif one.verb == "delete":
            del self._now[key]
        else:
            self._now[key] = canonical(apply_operations(parse_manifest(known), parse_operations(one.body)))

    def observe(self) -> Mapping[ObjectKey, str]:
        """Return every object's canonical manifest as it is now, by key in sorted order."""
        return dict(sorted(self._now.items()))

    def restore(self) -> None:
        """Return to the state at entry."""
        self._now = dict(self._entry)
