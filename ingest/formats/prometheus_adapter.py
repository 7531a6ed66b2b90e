"""prometheus-kafka-adapter: one sample a message, as JSON.

    {"timestamp":"1970-01-01T00:00:00Z","value":"9876543210","name":"up","labels":{"__name__":"up","job":"x"}}

The value is text and may be `NaN`, `+Inf` or `-Inf`: all three are rows whose value is NaN (present, without a usable
number), since an infinity in a mean would hide everything beside it. Times have whole seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import polars as pl

from engine.ids import identity_of
from engine.ports import Decoded
from engine.redaction import hashed
from engine.schemas import Kind, conform
from ingest.identity import IDENTITY_LABELS, POD_LABELS, Identity
from ingest.refused import UNREADABLE, Refused
from ingest.scrub import Scrubber, looks_secret, scrub
from ingest.times import OUTSIDE, rfc3339_ms

COUNTER_SUFFIXES: Final = ("_total", "_count", "_sum", "_bucket")
"""What the names of counters end in, by the conventions of Prometheus and OpenMetrics."""

_MAX_CACHED: Final = 500_000  # distinct label sets; about 300 bytes each


_NAMES_OF_SECRETS: Final = ("secret", "exported_secret")  # kube-state-metrics: the name of a Secret, not its value


class _Sample(msgspec.Struct, gc=False):
    timestamp: str
    value: str | float | int
    labels: msgspec.Raw
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Measured:
    entity: str
    indicator: str
    instance: str
    form: str
    identity: int = 0


_UNREADABLE: Final = _Measured("", "", "", "")


@dataclass(frozen=True, slots=True)
class PrometheusAdapter:
    """Decodes samples; label sets are looked at once each.

    The indicator is the metric's name with the labels that say neither whom it is about nor how it was fetched:
    `http_requests_total{code="500",method="GET"}`.
    """

    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)
    _known: dict[bytes, _Measured] = field(default_factory=dict, compare=False, repr=False)

    @property
    def name(self) -> str:
        """Return the format's name."""
        return "prometheus-adapter"

    @property
    def kind(self) -> Kind:
        """Return the kind of its rows."""
        return "metrics"

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row a sample, and a dead letter for each message that is none."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        samples, at = refused.decoded(_DECODER.decode)
        frame = pl.DataFrame({"at": pl.Series(at, dtype=pl.Int64), **self._measured(samples)}).with_columns(
            ts_ms=rfc3339_ms(pl.Series([sample.timestamp for sample in samples], dtype=pl.String)),
            value=_numbers([sample.value for sample in samples]),
        )
        frame = refused.where(frame, pl.col("entity") == "", "labels name no metric or are not text")
        frame = refused.where(frame, pl.col("ts_ms").is_null(), OUTSIDE)
        frame = refused.where(frame, pl.col("value").is_null(), "value is not a number")
        usable = pl.when(pl.col("value").is_infinite()).then(float("nan")).otherwise(pl.col("value"))
        frame = frame.with_columns(refused.offsets_of(frame["at"]), value=usable)
        return Decoded(conform("metrics", frame), refused.letters())

    def _measured(self, samples: Sequence[_Sample]) -> Mapping[str, pl.Series]:
        known = self._known
        if len(known) > _MAX_CACHED:
            known.clear()
        keys = [bytes(sample.labels) for sample in samples]
        found = []
        for key, sample in zip(keys, samples, strict=True):
            one = known.get(key)
            if one is None:
                one = known[key] = self._look_at(key)
            found.append(one if one.indicator else self._named(key, sample.name))
        return {
            "entity": pl.Series([one.entity for one in found], dtype=pl.String),
            "indicator": pl.Series([one.indicator for one in found], dtype=pl.String),
            "instance": pl.Series([one.instance for one in found], dtype=pl.String),
            "form": pl.Series([one.form for one in found], dtype=pl.String),
            "identity": pl.Series([one.identity for one in found], dtype=pl.UInt64),
        }

    def _look_at(self, raw: bytes) -> _Measured:
        """Return what a label set measures; without an indicator where it does not name its metric."""
        try:
            labels = _LABELS.decode(raw)
        except UNREADABLE:
            return _UNREADABLE
        return self._measure(labels) if labels.get("__name__") else _UNREADABLE

    def _named(self, raw: bytes, name: str) -> _Measured:
        """Return what a label set measures whose metric is named beside it (rare: the adapter writes both)."""
        try:
            labels = _LABELS.decode(raw)
        except UNREADABLE:
            return _UNREADABLE
        return self._measure({**labels, "__name__": name}) if name else _UNREADABLE

    def _measure(self, raw: Mapping[str, str]) -> _Measured:
        labels = {key: self._without_secret(key, value) for key, value in raw.items()}
        name = labels["__name__"]
        form = "counter" if name.endswith(COUNTER_SUFFIXES) else "gauge"
        series = identity_of(*(part for pair in sorted(raw.items()) for part in pair))
        return _Measured(self.identity.of_labels(labels), indicator_of(name, labels), instance_of(labels), form, series)

    def _without_secret(self, key: str, value: str) -> str:
        """Return a label's value, a hash where it holds a secret: what was two series must stay two."""
        secret = key not in _NAMES_OF_SECRETS and looks_secret(key)
        if not secret and scrub(value) == value:
            return value
        self.scrubber.counts["label"] += 1
        return hashed(value)


def _numbers(values: Sequence[str | float]) -> pl.Series:
    """Return numbers written as text, or (not by the adapter itself) as numbers; null where they are none."""
    texts = [value if type(value) is str else str(value) for value in values]
    return pl.Series(texts, dtype=pl.String).cast(pl.Float64, strict=False)


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


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


_DECODER: Final = msgspec.json.Decoder(_Sample)
_LABELS: Final = msgspec.json.Decoder(dict[str, str])
