"""Follows a cluster: its events, and the objects that a cause or a fix may rest on, each resource by its own watch.

A watch begins with a list of what there is, and goes on from the list's resourceVersion, over dropped connections and
restarts. Where the cluster no longer remembers that version (410 Gone) everything is listed anew: what has not changed
is not told again, and what vanished meanwhile is told as deleted. The order of the steps, for each that is told:

    1. what is about to be handed over, and when it was seen, is written down (`opsbrain.pull.kubernetes_seen`)
    2. the body is kept; it is durable when `keep` returns
    3. the resourceVersion that the watch goes on from is moved on

A crash between 1 and 3 hands the same bytes over again, which is recognised by UID and resourceVersion (an event's by
UID and count). What an object tells: its manifest as it is when told, without `managedFields`, which nobody reads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.errors import Retryable
from ingest.refused import UNREADABLE
from opsbrain.file_names import file_name
from opsbrain.keep import Keep, TooLarge
from opsbrain.pull.kubernetes_api import EVENTS, Access, ClientAccess, ClusterConfig, Expired, Json, Resource
from opsbrain.pull.kubernetes_seen import Seen, Told

_AGAIN_S: Final = 0.5
_UNREADABLE_S: Final = 60.0
_ENCODER: Final = msgspec.json.Encoder()
_SPEC_TO_KEEP: Final = ("selector", "scaleTargetRef")  # by which a Service or an autoscaler is somebody's

_log = logging.getLogger(__name__)


class _Line(msgspec.Struct):
    type: str
    object: Json


class KubernetesWatch:
    """Pulls one resource of one cluster (opsbrain.pull.base.Puller); a poll is a watch, and ends when that does."""

    def __init__(
        self, name: str, resource: Resource, access: Access, seen: Seen, keep: Keep, clock: Callable[[], int]
    ) -> None:
        """Build it; `clock` returns Unix milliseconds."""
        self._name = name
        self._resource = resource
        self._access = access
        self._seen = seen
        self._keep = keep
        self._clock = clock
        self._is_events = resource is EVENTS

    @property
    def name(self) -> str:
        """Return what it pulls, as messages name it."""
        return self._name

    @property
    def next_in_s(self) -> float:
        """Return how long to wait after a watch that ended: it is taken up again at once."""
        return _AGAIN_S

    def poll(self, now_ms: int) -> None:
        """Hand over what is new until the connection ends; list first where the cursor is unknown or expired."""
        self._seen.open()
        try:
            if not self._seen.cursor:
                self._list()
            for line in self._access.watch(self._resource, self._seen.cursor):
                self._take(line)
        except Expired:
            self._seen.expire()

    def close(self) -> None:
        """End the watch under way, from another thread."""
        self._access.close()

    def _list(self) -> None:
        items, version = self._access.list(self._resource)
        whole = [{"apiVersion": self._resource.api_version, "kind": self._resource.kind} | item for item in items]
        there = {_uid(item) for item in whole}
        vanished = [told for told in self._seen.possible() if told.uid not in there]
        if self._is_events:
            self._seen.tell([Told(told.uid, told.version, 0, gone=True) for told in vanished], durable=False)
        else:
            # First: what was deleted and made again has the same name, and is there now.
            self._hand("DELETED", [told.remains for told in vanished if told.remains])
        fresh = [item for item in whole if not self._is_known(item)]
        self._hand("ADDED", sorted(fresh, key=_happened) if self._is_events else fresh)
        self._seen.move(version)

    def _take(self, line: bytes) -> None:
        try:
            told = msgspec.json.decode(line, type=_Line)
        except UNREADABLE as error:
            raise Retryable("the cluster's answer cannot be read", _UNREADABLE_S) from error
        if told.type == "ERROR":
            raise _ended(told.object)
        if told.type in ("ADDED", "MODIFIED", "DELETED"):
            self._tell(told.type, told.object)
        self._seen.move(_version(told.object))

    def _tell(self, kind: str, item: Json) -> None:
        if self._is_events and kind == "DELETED":
            self._seen.tell([Told(_uid(item), _version(item), 0, gone=True)], durable=False)
        elif kind == "DELETED" or not self._is_known(item):
            self._hand(kind, [item])

    def _hand(self, kind: str, items: Sequence[Json]) -> None:
        """Hand objects over. Events have a time of their own and so the same bytes each time; objects get one here."""
        told = [self._told(item, kind == "DELETED") for item in items]
        if self._is_events:
            self._keep_all(kind, items, [None] * len(items))
            self._seen.tell(told, durable=False)
        else:
            self._seen.tell(told)
            self._keep_all(kind, items, [one.seen_ms for one in told])

    def _keep_all(self, kind: str, items: Sequence[Json], seen_ms: Sequence[int | None]) -> None:
        format = "kubernetes-events" if self._is_events else "kubernetes-objects"
        for item, at_ms in zip(items, seen_ms, strict=True):
            try:
                self._keep.keep(format, _body(kind, item, at_ms))
            except TooLarge as error:  # it never will be kept, and nothing behind it would be
                _log.warning("%s: %s %s is left out: %s", self._name, self._resource.kind, _path(item), error)

    def _told(self, item: Json, gone: bool) -> Told:
        remains = None if self._is_events or gone else _remains(item)
        told = Told(_uid(item), _version(item), self._clock(), gone, remains)
        return Told(told.uid, told.version, self._seen.seen_ms(told), gone, remains)

    def _is_known(self, item: Json) -> bool:
        known = self._seen.known.get(_uid(item))
        return known is not None and known.version == _version(item)


def watches(
    name: str, config: ClusterConfig, folder: Path, keep: Keep, clock: Callable[[], int]
) -> Iterator[KubernetesWatch]:
    """Yield a watch for each resource of a cluster; `name` is that of its settings, and of its files in `folder`."""
    for resource in config.resources():
        own = f"{name} {resource.kind}"
        seen = Seen(folder / f"{file_name(own)}.seen")
        yield KubernetesWatch(own, resource, ClientAccess(config), seen, keep, clock)


def _body(kind: str, item: Json, seen_ms: int | None) -> bytes:
    at = {} if seen_ms is None else {"observed_at": _rfc3339(seen_ms)}
    metadata = {key: value for key, value in _metadata(item).items() if key != "managedFields"}
    return _ENCODER.encode({"type": kind, **at, "object": item | {"metadata": metadata}})


def _rfc3339(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _remains(item: Json) -> Json:
    """Return what is enough to say later that the object is gone, and whose it was."""
    kept = ("name", "namespace", "uid", "resourceVersion", "labels", "ownerReferences")
    metadata = {key: value for key, value in _metadata(item).items() if key in kept}
    spec = item.get("spec")
    told = {key: spec[key] for key in _SPEC_TO_KEEP if key in spec} if isinstance(spec, dict) else {}
    return {"apiVersion": item.get("apiVersion"), "kind": item.get("kind"), "metadata": metadata} | (
        {"spec": told} if told else {}
    )


def _happened(event: Json) -> str:
    """Return when an event happened last, as text that sorts."""
    series = event.get("series") or {}
    told: Any = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return str(told or _metadata(event).get("creationTimestamp") or "")


def _ended(status: Json) -> Expired | Retryable:
    """Return why the cluster ended a watch; nothing of its own words, which may quote anything."""
    if status.get("code") == 410:
        return Expired("the resourceVersion has expired")
    return Retryable(f"the cluster ended the watch with {status.get('code')}", _AGAIN_S)


def _uid(item: Json) -> str:
    return str(_metadata(item).get("uid", ""))


def _version(item: Json) -> str:
    return str(_metadata(item).get("resourceVersion", ""))


def _path(item: Json) -> str:
    return f"{_metadata(item).get('namespace', '-')}/{_metadata(item).get('name', '')}"


def _metadata(item: Json) -> Json:
    found = item.get("metadata")
    return found if isinstance(found, dict) else {}
