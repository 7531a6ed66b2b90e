"""Falco: one finding a message, as Falco's HTTP and program outputs and Falcosidekick write it.

    {"hostname":"h","output":"...","priority":"Critical","rule":"Terminal shell in container","source":"syscall",
     "tags":["shell"],"time":"2023-05-25T13:44:05.478445995Z","output_fields":{"k8s.ns.name":"n","k8s.pod.name":"p"}}

Falcosidekick may add `uuid`, and fields of its own (`customfields`, `templatedfields`), which go unread, as `tags` do.
The reason is the rule in one word, `TerminalShellInContainer`; a priority of Warning or worse makes a Warning. It is
about the pod or workload that the fields name, else the host. Without a `uuid` a finding is itself by time, rule and
output; the output holds the process and the container.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import msgspec

from engine.ids import content_id
from engine.ports import Decoded
from engine.schemas import Kind
from ingest.event_rows import EventRow, Found, Unusable, camel, decode_events, sentence
from ingest.identity import Identity
from ingest.refused import Refused
from ingest.scrub import Scrubber
from ingest.times import Stamp

_LOUD: Final = frozenset({"emergency", "alert", "critical", "error", "warning"})
_QUIET: Final = frozenset({"notice", "informational", "info", "debug"})

# What Falco and its plugins call things, as labels are called.
_NAMES: Final = {
    "k8s.pod.name": "pod",
    "k8smeta.pod.name": "pod",
    "k8s.ns.name": "namespace",
    "k8smeta.ns.name": "namespace",
    "k8s.deployment.name": "deployment",
    "k8smeta.deployment.name": "deployment",
    "k8s.rs.name": "replicaset",
    "k8smeta.rs.name": "replicaset",
    "ka.target.namespace": "namespace",
}
_CONTAINER: Final = "container.name"  # by the kubelet and dockershim: k8s_CONTAINER_POD_NAMESPACE_UID_n


class _Finding(msgspec.Struct):
    rule: str
    output: str
    priority: str
    time: Stamp = None
    hostname: str = ""
    uuid: str | None = None
    output_fields: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Falco:
    """Decodes findings."""

    name: ClassVar[str] = "falco"
    kind: ClassVar[Kind] = "events"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row a finding, and a dead letter for each message that is none."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        return decode_events(refused, self.scrubber, received_ms, _DECODER.decode, self._read)

    def _read(self, found: _Finding) -> Iterator[Found]:
        priority = found.priority.lower()
        if priority not in _LOUD | _QUIET:
            yield Unusable("priority is none of Falco's")
            return
        uid = found.uuid or content_id("falco", str(found.time), found.rule, found.output)
        yield EventRow(
            time=_stamp(found),
            entity=self._entity(found.output_fields or {}, found.hostname),
            reason=camel(found.rule),
            message=sentence(found.rule + ":", found.output),
            warning=priority in _LOUD,
            uid=uid,
            facts=(uid,),
        )

    def _entity(self, fields: Mapping[str, Any], hostname: str) -> str:
        labels = {
            name: value for key, name in _NAMES.items() if isinstance(value := fields.get(key), str) and _known(value)
        }
        container = fields.get(_CONTAINER)
        parts = container.split("_") if isinstance(container, str) else []
        if "pod" not in labels and len(parts) >= 5 and parts[0] == "k8s":
            labels |= {"pod": parts[2], "namespace": parts[3]}
        if labels.keys() - {"namespace"}:
            return self.identity.of_labels(labels)
        if hostname:
            return self.identity.node(hostname)
        return self.identity.of_labels(labels)


def _known(value: str) -> bool:
    """Return whether Falco knew the field: what it does not know it writes as `<NA>`."""
    return value not in ("", "<NA>", "N/A", "null")


def _stamp(found: _Finding) -> Stamp:
    """Return the time; Falco's own field in nanoseconds where the message has none, as of old versions."""
    nanos = (found.output_fields or {}).get("evt.time")
    return nanos if found.time is None and isinstance(nanos, int) else found.time


_DECODER: Final = msgspec.json.Decoder(_Finding)
