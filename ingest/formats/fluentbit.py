"""Fluent Bit, output plugin `kafka`: one log record a message, as JSON.

    {"@timestamp":1755856800.123,"stream":"stderr","log":"...","kubernetes":{"pod_name":"p","namespace_name":"n","labels":{}}}

The time is a float epoch, `iso8601` or `iso8601_ns` text, under `@timestamp`, `date` or `time`. The text is under
`log`, `message` or `msg` (`merge_log` lifts the keys of a JSON line). The severity is an explicit level where there is
one, else what the text says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import polars as pl

from engine.ports import Decoded
from engine.schemas import Kind, conform
from ingest.identity import Identity, owners_of
from ingest.loglines import with_text
from ingest.refused import UNREADABLE, Refused
from ingest.scrub import Scrubber
from ingest.times import OUTSIDE, Stamp, stamps_ms

_MAX_CACHED: Final = 100_000  # distinct senders; about 1 KiB each
_NOTHING: Final = msgspec.Raw(b"")
_NUMBERED: Final = (10, 20, 30, 40, 50, 60)  # levels of pino and bunyan


class _Record(msgspec.Struct, gc=False):
    stamp: Stamp = msgspec.field(default=None, name="@timestamp")
    date: Stamp = None
    time: Stamp = None
    log: Any = None
    message: Any = None
    msg: Any = None
    level: Any = None
    severity: Any = None
    loglevel: Any = None
    log_level: Any = None
    lvl: Any = None
    levelname: Any = None
    severity_text: Any = None
    kubernetes: msgspec.Raw = _NOTHING
    host: Any = None
    hostname: Any = None
    service: Any = None
    app: Any = None
    container_name: Any = None


class _Kubernetes(msgspec.Struct):
    pod_name: str = ""
    namespace_name: str = ""
    host: str = ""
    container_name: str = ""
    labels: dict[str, Any] | None = None
    ownerReferences: list[Any] | None = None


@dataclass(frozen=True, slots=True)
class Fluentbit:
    """Decodes log records; senders are looked at once each."""

    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)
    _known: dict[bytes, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def name(self) -> str:
        """Return the format's name."""
        return "fluentbit"

    @property
    def kind(self) -> Kind:
        """Return the kind of its rows."""
        return "logs"

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row a record, and a dead letter for each message that is none."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        records, at = refused.decoded(_DECODER.decode)
        frame = pl.DataFrame(
            {
                "at": pl.Series(at, dtype=pl.Int64),
                "ts_ms": stamps_ms([_stamp(record) for record in records]),
                "entity": pl.Series([self._sender(record) for record in records], dtype=pl.String),
                "body": pl.Series([_text(record) for record in records], dtype=pl.String),
                "level": pl.Series([_level(record) for record in records], dtype=pl.String),
            }
        )
        frame = refused.where(frame, pl.col("body").is_null(), "no text under log, message or msg")
        frame = refused.where(frame, pl.col("entity") == "", "kubernetes is not an object with names")
        frame = refused.where(frame, pl.col("ts_ms").is_null(), OUTSIDE)
        frame = with_text(frame.with_columns(refused.offsets_of(frame["at"])), self.scrubber)
        return Decoded(conform("logs", frame), refused.letters())

    def _sender(self, record: _Record) -> str:
        raw = bytes(record.kubernetes)
        if not raw:
            return self._without_pod(record)
        known = self._known.get(raw)
        if known is None:
            if len(self._known) > _MAX_CACHED:
                self._known.clear()
            known = self._known[raw] = self._of_kubernetes(raw)
        return known or self._without_pod(record)

    def _of_kubernetes(self, raw: bytes) -> str:
        """Return the entity that the Kubernetes filter names, "" where it names none."""
        try:
            meta = _KUBERNETES.decode(raw)
        except UNREADABLE:
            return ""
        labels = {key: value for key, value in (meta.labels or {}).items() if isinstance(value, str)}
        if meta.pod_name:
            return self.identity.of_pod(meta.pod_name, meta.namespace_name, labels, owners_of(meta.ownerReferences))
        said = {
            "namespace_name": meta.namespace_name,
            "host": meta.host,
            "container_name": meta.container_name,
        }
        return self.identity.of_labels(labels | {key: value for key, value in said.items() if value})

    def _without_pod(self, record: _Record) -> str:
        said = {
            "host": record.host or record.hostname,
            "service": record.service,
            "app": record.app,
            "container_name": record.container_name,
        }
        return self.identity.of_labels({key: value for key, value in said.items() if isinstance(value, str) and value})


def _stamp(record: _Record) -> Stamp:
    if record.stamp is not None:
        return record.stamp
    return record.date if record.date is not None else record.time


def _text(record: _Record) -> str | None:
    for text in (record.log, record.message, record.msg):
        if isinstance(text, str):
            return text
    return None


def _level(record: _Record) -> str | None:
    value = record.level or record.severity or record.loglevel or record.log_level
    if value is None:
        value = record.lvl or record.levelname or record.severity_text
    if value is None or isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, int | float) and value in _NUMBERED else None


_DECODER: Final = msgspec.json.Decoder(_Record)
_KUBERNETES: Final = msgspec.json.Decoder(_Kubernetes)
