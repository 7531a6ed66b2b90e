"""What the cluster says of itself, in the shape of kubernetes-event-exporter: an Event with its object's labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.testbed.clock import rfc3339_seconds
from benchmarks.testbed.naming import Names


@dataclass(frozen=True, slots=True)
class Involved:
    """The object that an event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    owners: Sequence[Mapping[str, object]] = ()


class EventLog:
    """Makes events; one that is said again about the same object counts up, as in a cluster."""

    def __init__(self, names: Names, cluster: str) -> None:
        self._names = names
        self._cluster = cluster
        self._known: dict[tuple[str, str, str], dict[str, object]] = {}

    def event(
        self,
        at_ns: int,
        about: Involved,
        reason: str,
        message: str,
        component: str,
        host: str = "",
        kind: str = "Normal",
    ) -> dict[str, object]:
        """Return the event as the exporter would send it at that time."""
        key = (about.uid, reason, message)
        event = self._again(key, at_ns) or self._first(at_ns, about, reason, message, component, host, kind)
        self._known[key] = event
        return event

    def _again(self, key: tuple[str, str, str], at_ns: int) -> dict[str, object] | None:
        before = self._known.get(key)
        if before is None:
            return None
        return {**before, "count": int(str(before["count"])) + 1, "lastTimestamp": rfc3339_seconds(at_ns)}

    def _first(
        self, at_ns: int, about: Involved, reason: str, message: str, component: str, host: str, kind: str
    ) -> dict[str, object]:
        at = rfc3339_seconds(at_ns)
        return {
            "metadata": {
                "name": f"{about.name}.{at_ns:x}",
                "namespace": about.namespace,
                "uid": self._names.uid(),
                "creationTimestamp": at,
            },
            "reason": reason,
            "message": message,
            "source": {"component": component, **({"host": host} if host else {})},
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
            "type": kind,
            "eventTime": None,
            "reportingComponent": component,
            "reportingInstance": host,
            "clusterName": self._cluster,
            "involvedObject": {
                "apiVersion": about.api_version,
                "kind": about.kind,
                "namespace": about.namespace,
                "name": about.name,
                "uid": about.uid,
                "labels": dict(about.labels),
                "ownerReferences": [dict(owner) for owner in about.owners],
                "deleted": False,
            },
        }
