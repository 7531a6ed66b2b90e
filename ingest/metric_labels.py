"""Reads a metric's labels: whom they are about, what is measured, which replica says it, and what the series is.

Shared by every format whose series are sets of labels, so that a sample is the same row whichever way it comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from engine.ids import identity_of
from engine.redaction import hashed
from ingest.identity import IDENTITY_LABELS, POD_LABELS, Identity
from ingest.scrub import Scrubber, looks_secret, names_header

COUNTER_SUFFIXES: Final = ("_total", "_count", "_sum", "_bucket")
"""What the names of counters end in, by the conventions of Prometheus and OpenMetrics."""

NAMELESS: Final = "labels name no metric or are not text"
"""Why a label set is refused that has no usable `__name__`."""

_MAX_CLEAN: Final = 100_000
_NAMES_OF_SECRETS: Final = ("secret", "exported_secret")  # kube-state-metrics: the name of a Secret, not its value


@dataclass(frozen=True, slots=True)
class Measured:
    """What the rows of one series have in common; with a `reason`, why they cannot be used."""

    entity: str = ""
    indicator: str = ""
    instance: str = ""
    form: str = ""
    identity: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MetricLabels:
    """Turns label sets into what they measure. Some 20 µs a label set; remember the answer (`SeriesTable`).

    The indicator is the metric's name with the labels that say neither whom it is about nor how it was fetched:
    `http_requests_total{code="500",method="GET"}`. Label values that hold secrets become hashes.
    """

    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)
    _clean: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def measured(self, raw: Mapping[str, str], form: str = "") -> Measured:
        """Return what labels measure, `__name__` among them; `form` where the sender says it, else the name decides."""
        name = raw.get("__name__")
        if not name:
            return Measured(reason=NAMELESS)
        labels = self.without_secrets(raw)
        name = labels["__name__"]
        return Measured(
            self.identity.of_labels(raw),
            indicator_of(name, labels),
            instance_of(labels),
            form or form_of(name),
            series_identity(raw),
        )

    def without_secrets(self, raw: Mapping[str, str]) -> Mapping[str, str]:
        """Return labels with a hash where a value holds a secret: what was two series must stay two."""
        return {key: self._without_secret(key, value) for key, value in raw.items()}

    def _without_secret(self, key: str, value: str) -> str:
        if _asks(key) if self.scrubber.enabled else names_header(key):
            self.scrubber.counts["label"] += 1
            return hashed(value)
        return value if value in self._clean or self._is_clean(value) else hashed(value)

    def _is_clean(self, value: str) -> bool:
        """Return whether a value holds no secret, and remember it: the values of labels are few."""
        if self.scrubber.text(value) != value:
            return False
        if len(self._clean) >= _MAX_CLEAN:
            self._clean.clear()
        self._clean.add(value)
        return True


def series_identity(labels: Mapping[str, str]) -> int:
    """Return what makes a series itself: a hash of the whole label set as sent, in whichever order."""
    return identity_of(*(part for pair in sorted(labels.items()) for part in pair))


def form_of(name: str) -> str:
    """Return "counter" or "gauge", by what the name ends in."""
    return "counter" if name.endswith(COUNTER_SUFFIXES) else "gauge"


def indicator_of(name: str, labels: Mapping[str, str]) -> str:
    """Return the name with the labels that belong to what is measured, sorted, as Prometheus would write it."""
    own = sorted((key, value) for key, value in labels.items() if key not in IDENTITY_LABELS)
    if not own:
        return name
    return name + "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in own) + "}"


def instance_of(labels: Mapping[str, str]) -> str:
    """Return which replica speaks: pod, container and address as far as they are named, "" if none is."""
    pod = next((labels[key] for key in POD_LABELS if labels.get(key)), "")
    named = (pod, labels.get("container", ""), labels.get("instance", ""))
    return "/".join(part for part in named if part)


@lru_cache(maxsize=10_000)
def _asks(key: str) -> bool:
    """Whether what a label of this name holds is likely a secret."""
    return key not in _NAMES_OF_SECRETS and looks_secret(key)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
