"""Names the series of OTLP metrics: a stream of a resource, a scope, a metric and a point's attributes.

| column | made of |
|---|---|
| entity | what resource and point attributes name together, as Prometheus labels do; a point's outdo a resource's |
| indicator | the metric's name with the point attributes that say what is measured |
| instance | pod, container and `service.instance.id` (else container id, host and process), then the scope, and the |
| | attributes of the point that say whom it is about: what OTLP holds apart must not be mixed as one counter |
| identity | resource, scope, name and point attributes |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from xxhash import xxh3_128_digest

from engine.ids import identity_of
from ingest.identity import IDENTITY_LABELS, POD_LABELS
from ingest.metric_labels import Measured, MetricLabels, indicator_of, instance_of
from ingest.otlp_resources import Resources
from ingest.series_table import SeriesTable

_AS_LABELS: Final = (("instance", "service.instance.id"), ("container", "k8s.container.name"))
"""What Prometheus calls what resources say."""

_ABOUT_OTHERS: Final = ("kube_",)
"""Metrics of exporters that speak of others only: what their resource says is about the exporter."""

_MUTE: Final = ("telemetry.", "process.", "os.")
"""Attributes that name nobody; there are many, and what is looked up is remembered with all that it was asked by."""

_PROCESS: Final = ("container.id", "host.id", "host.name", "process.pid")
_SPOKEN: Final = frozenset({*POD_LABELS, "container", "instance"})


@dataclass(frozen=True, slots=True)
class Stream:
    """What the points of one metric have in common; `key` stands for all of it."""

    resource: bytes
    scope: str
    name: str
    form: str
    key: bytes


def stream_of(resource: bytes, scope: str, name: str, form: str) -> Stream:
    """Return a stream with its key."""
    parts = (resource, scope.encode(), name.encode(), form.encode())
    return Stream(resource, scope, name, form, xxh3_128_digest(b"".join([b"%d:%b" % (len(one), one) for one in parts])))


@dataclass(frozen=True, slots=True)
class OtlpSeries:
    """Turns streams into what they measure, some 50 µs a series, and remembers them in `table` by their numbers.

    `groups` holds the numbers of series that one point has together (a histogram's count, sum and buckets).
    """

    labels: MetricLabels
    resources: Resources = field(default_factory=Resources)
    table: SeriesTable = field(default_factory=SeriesTable)
    groups: dict[bytes, tuple[int, ...]] = field(default_factory=dict)

    def make_room(self) -> bool:
        """Forget all numbers if there are too many; return whether it did: none that was given before may be used."""
        if not self.table.full:
            return False
        self.table.clear()
        self.groups.clear()
        return True

    def number(
        self, stream: Stream, key: bytes, attributes: Mapping[str, str], suffix: str = "", form: str = ""
    ) -> int:
        """Return the number of a new or known series of a stream, which is known by `key` among all.

        `suffix` goes behind the metric's name; `form` is the stream's where it is not given. Raises Malformed where
        the resource is none.
        """
        known = self.table.numbers.get(key)
        if known is not None:
            return known
        return self.table.number_of(key, lambda: self._measured(stream, suffix, form or stream.form, attributes))

    def _measured(self, stream: Stream, suffix: str, form: str, attributes: Mapping[str, str]) -> Measured:
        resource = self.resources.attributes(stream.resource)
        point = self.labels.without_secrets(attributes)
        name = stream.name + suffix
        return Measured(
            self._entity(resource, name, point),
            indicator_of(name, point),
            _instance(resource, stream.scope, point),
            form,
            identity_of(*_flat(resource), "", stream.scope, name, *_flat(attributes)),
        )

    def _entity(self, resource: Mapping[str, str], name: str, point: Mapping[str, str]) -> str:
        identity = self.labels.identity
        overridden = {key.partition("=")[0] for key in identity.overrides}
        said = {} if name.startswith(_ABOUT_OTHERS) else _as_labels(resource)
        said = {key: value for key, value in said.items() if not key.startswith(_MUTE) or key in overridden}
        return identity.of_labels({**said, **point, "__name__": name})


def _instance(resource: Mapping[str, str], scope: str, point: Mapping[str, str]) -> str:
    said = _as_labels(resource)
    replica = instance_of({**said, **point})
    if not said.get("instance") and not any(said.get(label) for label in POD_LABELS):
        replica = "/".join(filter(None, (replica, *(said.get(key, "") for key in _PROCESS))))
    about = {key: value for key, value in point.items() if key in IDENTITY_LABELS and key not in _SPOKEN}
    own = ",".join(f"{key}={value}" for key, value in sorted(about.items()))
    return "/".join(part for part in (replica, scope, own) if part)


def _as_labels(resource: Mapping[str, str]) -> dict[str, str]:
    """Return resource attributes, and beside them what Prometheus calls some of them."""
    return {label: resource[key] for label, key in _AS_LABELS if resource.get(key)} | dict(resource)


def _flat(attributes: Mapping[str, str]) -> list[str]:
    return [part for pair in sorted(attributes.items()) for part in pair]
