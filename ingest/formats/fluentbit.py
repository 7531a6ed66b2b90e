"""Fluent Bit: log records as JSON (outputs `kafka` and `http`) or MessagePack, and what sends the like.

    {"@timestamp":1755856800.123,"stream":"stderr","log":"...","kubernetes":{"pod_name":"p","namespace_name":"n","labels":{}}}

A message is one record, an array, JSON lines, records one after another, or MessagePack (`ingest.msgpack_records`).
The time is an epoch in any unit or text under `@timestamp`, `date`, `time` or another key for times; a text without a
zone is UTC, which is what Fluent Bit writes. The text is under `log`, `message` or `msg`; where `merge_log` has lifted
the keys of a JSON line and not kept the line, under a key for messages, or it is those keys. The severity is an
explicit level where there is one, word or number, else what the text says. The sender is the pod, by what the
kubernetes filter added, or by the file that the line was read from; else the service or the host.

Records with `log`, a time and the filter's metadata are read fast, and so are those with nothing but `log`, a time and
some names of their sender; all others key by key (`ingest.log_records`), where GELF, rsyslog's omkafka, the systemd
journal and the Elastic Common Schema are at home too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import msgspec
import polars as pl
from xxhash import xxh3_64_intdigest

from engine.ports import Decoded
from engine.schemas import Kind, conform
from ingest.identity import Identity, owners_of
from ingest.log_records import LogLine, level_of, read_record, sender_of
from ingest.loglines import with_text
from ingest.msgpack_records import is_msgpack, json_of_msgpack
from ingest.refused import UNREADABLE, Refused, why
from ingest.scrub import Scrubber
from ingest.split import records_of
from ingest.times import OUTSIDE, Stamp, stamps_ms, utc_ms

NO_TEXT: Final = "no text under log, message or msg, nor any other key"

_MAX_CACHED: Final = 100_000  # distinct senders; about 1 KiB each
_NOTHING: Final = msgspec.Raw(b"")


class _Record(msgspec.Struct, gc=False):
    stamp: Any = msgspec.field(default=None, name="@timestamp")
    date: Any = None
    time: Any = None
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
    ecs_level: Any = msgspec.field(default=None, name="log.level")
    kubernetes: msgspec.Raw = _NOTHING


class _Plain(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A record of which nothing but these names says who sent it."""

    log: str
    stamp: Any = msgspec.field(default=None, name="@timestamp")
    date: Any = None
    time: Any = None
    stream: Any = None
    host: str | None = None
    hostname: str | None = None
    service: str | None = None
    app: str | None = None
    container_name: str | None = None
    container_id: str | None = None
    source: str | None = None
    tag: str | None = None
    ident: str | None = None


class _Kubernetes(msgspec.Struct):
    pod_name: str = ""
    namespace_name: str = ""
    labels: dict[str, Any] | None = None
    ownerReferences: list[Any] | None = None


def split_message(body: bytes) -> list[bytes]:
    """Return the records of a message of either encoding, each as JSON."""
    return json_of_msgpack(body) if is_msgpack(body) else records_of(body)


@dataclass(frozen=True, slots=True)
class Fluentbit:
    """Decodes log records; senders are looked at once each."""

    name: ClassVar[str] = "fluentbit"
    kind: ClassVar[Kind] = "logs"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)
    _known: dict[int, tuple[msgspec.Raw, str]] = field(default_factory=dict, compare=False, repr=False)
    _plain: dict[tuple[str | None, ...], str] = field(default_factory=dict, compare=False, repr=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row a record, and a dead letter for each message that is none."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        records, at = refused.decoded(_DECODER.decode)
        frame = self._with_plain(self._frame(records, at), bodies)
        slow = frame.select(pl.any_horizontal(pl.col("ts_ms", "entity", "body").is_null())).to_series()
        if slow.any():
            frame = self._read_slowly(frame, slow, bodies, refused)
        frame = refused.where(frame, pl.col("body").is_null(), NO_TEXT)
        frame = refused.where(frame, pl.col("ts_ms").is_null(), OUTSIDE)
        frame = with_text(frame.with_columns(refused.offsets_of(frame["at"])), self.scrubber)
        return Decoded(conform("logs", frame), refused.letters())

    def _frame(self, records: Sequence[_Record], at: Sequence[int]) -> pl.DataFrame:
        """Return what records say at first glance; nulls where that is not enough."""
        return pl.DataFrame(
            {
                "at": pl.Series(at, dtype=pl.Int64),
                "ts_ms": stamps_ms([_stamp(record) for record in records], utc_ms),
                "entity": pl.Series(self._senders(records), dtype=pl.String),
                "body": _texts(records),
                "level": pl.Series([_level(record) for record in records], dtype=pl.String),
            }
        )

    def _with_plain(self, frame: pl.DataFrame, bodies: Sequence[bytes]) -> pl.DataFrame:
        """Return the frame with the senders of plain records, of which the first glance has seen all the rest."""
        places = (frame["entity"].is_null() & frame["ts_ms"].is_not_null() & frame["body"].is_not_null()).arg_true()
        if not len(places):
            return frame
        named = pl.Series([self._plain_sender(bodies[at]) for at in frame["at"].gather(places)], dtype=pl.String)
        return frame.with_columns(entity=frame["entity"].scatter(places, named))

    def _plain_sender(self, body: bytes) -> str | None:
        """Return who sent a plain record; None for a record that is none, or says its time twice."""
        try:
            record = _PLAIN.decode(body)
        except UNREADABLE:
            return None
        if (record.stamp is None) + (record.date is None) + (record.time is None) != 2:
            return None
        names = (record.host, record.hostname, record.service, record.app, record.container_name)
        others = (record.container_id, record.source, record.tag, record.ident)
        known = self._plain.get(names + others)
        if known is None:
            if len(self._plain) > _MAX_CACHED:
                self._plain.clear()
            known = self._plain[names + others] = sender_of(_ANY.decode(body), self.identity)
        return known

    def _read_slowly(
        self, frame: pl.DataFrame, slow: pl.Series, bodies: Sequence[bytes], refused: Refused
    ) -> pl.DataFrame:
        """Return the frame with the rows that are `slow` read key by key, those that cannot be refused."""
        places = slow.arg_true()
        lines = [self._read(bodies[at], at, refused) for at in frame["at"].gather(places)]
        read = {
            "ts_ms": stamps_ms([line.stamp for line in lines], utc_ms),
            "entity": pl.Series([line.entity for line in lines], dtype=pl.String),
            "body": pl.Series([line.text for line in lines], dtype=pl.String),
            "level": pl.Series([line.level for line in lines], dtype=pl.String),
        }
        return frame.with_columns(frame[name].scatter(places, values) for name, values in read.items())

    def _read(self, body: bytes, at: int, refused: Refused) -> LogLine:
        try:
            return read_record(_ANY.decode(body), self.identity)
        except UNREADABLE as error:  # in a part that the first glance passes over
            refused.add(at, why(body, error))
            return LogLine(None, None, None, "")

    def _senders(self, records: Sequence[_Record]) -> list[str | None]:
        """Return the entities of pods that the kubernetes filter names; None where it names none."""
        known = self._known
        if len(known) > _MAX_CACHED:
            known.clear()
        found: list[str | None] = []
        for record in records:
            raw = record.kubernetes
            key = xxh3_64_intdigest(raw)
            one = known.get(key)
            if one is None or one[0] != raw:
                one = known[key] = (raw.copy(), self._of_kubernetes(raw))
            found.append(one[1] or None)
        return found

    def _of_kubernetes(self, raw: msgspec.Raw) -> str:
        try:
            meta = _KUBERNETES.decode(raw)
        except UNREADABLE:
            return ""
        if not (meta.pod_name and meta.namespace_name):
            return ""
        labels = {key: value for key, value in (meta.labels or {}).items() if isinstance(value, str)}
        return self.identity.of_pod(meta.pod_name, meta.namespace_name, labels, owners_of(meta.ownerReferences))


def _stamp(record: _Record) -> Stamp:
    stamp: Stamp = record.stamp if record.stamp is not None else record.date
    return record.time if stamp is None else stamp


def _texts(records: Sequence[_Record]) -> pl.Series:
    """Return the text of each record; null where there is none."""
    try:
        texts = pl.Series([record.log for record in records], dtype=pl.String)
    except TypeError:  # an object, a number
        texts = None
    if texts is None or texts.has_nulls() or (texts == "").any():
        texts = pl.Series([_text(record) for record in records], dtype=pl.String)
    return texts


def _text(record: _Record) -> str | None:
    for text in (record.log, record.message, record.msg):
        if isinstance(text, str) and text:
            return text
    return None


def _level(record: _Record) -> str | None:
    value = record.level or record.severity or record.loglevel or record.log_level
    if not value:
        value = record.lvl or record.levelname or record.severity_text or record.ecs_level
    if not value:  # 0 is the worst of syslog's
        return level_of("level", 0) if type(record.level) is int or type(record.severity) is int else None
    return value if type(value) is str else level_of("level", value)


_DECODER: Final = msgspec.json.Decoder(_Record)
_PLAIN: Final = msgspec.json.Decoder(_Plain)
_KUBERNETES: Final = msgspec.json.Decoder(_Kubernetes)
_ANY: Final = msgspec.json.Decoder(dict[str, Any])
