"""Sends recorded data to a broker as shippers would have: `python -m benchmarks.produce PATH --format F --bootstrap B`.

Recordings of our own go out as the lines they are; rows of other sources are written in the wire format of their kind
(`benchmarks.wire`). Topics are `telemetry.<kind>`; at the end every partition of them gets an end mark, so that the
workers close all windows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from zlib import crc32

import msgspec
import polars as pl
import typer

from benchmarks import wire
from engine.errors import ConfigError, OpsBrainError, SourceError
from engine.numbered import expanded
from engine.ports import Format, Reader, Source
from engine.runners.kafka.config import END, MARK_HEADER, RECORDED
from engine.schemas import KINDS, Kind
from engine.types import DeadLetter, Records
from ingest.identity import Identity
from ingest.lines import Lines
from ingest.recording import MANIFEST
from ingest.registry import format_of, source

if TYPE_CHECKING:
    from confluent_kafka import Producer

_BATCH: Final = 5_000
_TIMEOUT_S: Final = 60.0
_ANSWER_S: Final = 10.0
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Sent:
    """What went out: messages and wire format by topic."""

    messages: Mapping[str, int]
    formats: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Minutes:
    """A source seen through a time of day, `[from_ms, until_ms)` after midnight UTC."""

    of: Source
    from_ms: int
    until_ms: int

    @property
    def resolution_ms(self) -> int:
        """Return the step of the recorded data."""
        return self.of.resolution_ms

    @property
    def scopes(self) -> tuple[str, ...]:
        """Return the scopes of the source."""
        return self.of.scopes

    def partitions(self) -> Mapping[str, Kind]:
        """Return the input partitions by name."""
        return self.of.partitions()

    def open(self, partition: str, offset: int = 0) -> _MinutesReader:
        """Return a reader that leaves out what lies outside."""
        return _MinutesReader(self.of.open(partition, offset), self.from_ms, self.until_ms)


class _MinutesReader:
    def __init__(self, of: Reader, from_ms: int, until_ms: int) -> None:
        self._of, self._from_ms, self._until_ms = of, from_ms, until_ms

    @property
    def position(self) -> int:
        return self._of.position

    def next_batch(self) -> tuple[Records | None, Sequence[DeadLetter]] | None:
        batch = self._of.next_batch()
        if batch is None:
            return None
        records, letters = batch
        if records is None:
            return None, letters
        time = pl.col("ts_ms") % _DAY_MS
        rows = expanded(records.frame)
        inside = rows.filter((time >= self._from_ms) & (time < self._until_ms))
        return Records(records.kind, inside, records.input, records.next_offset), ()

    def close(self) -> None:
        self._of.close()


class Shipper:
    """Sends bodies to `telemetry.<kind>`, by entity or by turns, and ends every partition at the end."""

    def __init__(self, bootstrap: str, partitions: int, prefix: str = "telemetry.") -> None:
        from confluent_kafka import Producer

        _find_broker(bootstrap)
        self._bootstrap = bootstrap
        self._partitions = partitions
        self._prefix = prefix
        self._turn = count()
        self._messages: dict[str, int] = {}
        self._formats: dict[str, str] = {}
        settings = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 20, "log_level": 0}
        self._producer: Producer = Producer(settings)

    def topic(self, kind: str, format: str) -> str:
        """Return the topic of a kind, created if it is new."""
        topic = f"{self._prefix}{kind}"
        if topic not in self._formats:
            _create(self._bootstrap, topic, self._partitions)
            self._formats[topic] = format
            self._messages[topic] = 0
        return topic

    def send(self, topic: str, bodies: Sequence[bytes], entities: Sequence[str | None]) -> None:
        """Send bodies in their order; each to its entity's partition, or to the next one where it has none."""
        for body, entity in zip(bodies, entities, strict=True):
            place = next(self._turn) if entity is None else crc32(entity.encode())
            self._put(topic, body, place % self._partitions, RECORDED)
        self._messages[topic] += len(bodies)

    def end(self) -> Sent:
        """Say on every partition that nothing follows; return what was sent."""
        for topic in self._formats:
            for number in range(self._partitions):
                self._put(topic, b"", number, END)
        self.flush()
        return Sent(dict(self._messages), dict(self._formats))

    def flush(self) -> None:
        """Return when everything is in the broker."""
        if left := self._producer.flush(_TIMEOUT_S):
            raise SourceError(f"kafka: {left} messages were not taken by {self._bootstrap} in {_TIMEOUT_S:g} s")

    def _put(self, topic: str, body: bytes, partition: int, mark: bytes) -> None:
        while True:
            try:
                self._producer.produce(topic, body, partition=partition, headers=[(MARK_HEADER, mark)])
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)


def produce_recording(path: Path, shipper: Shipper, *, by_entity: bool, lines: slice = slice(None)) -> None:
    """Send the lines of a recording of our own, all or a slice of each input."""
    source("opsbrain", path, None)  # refuses, in words, what is no recording
    manifest_file = path / MANIFEST if path.is_dir() else path
    manifest, path = msgspec.json.decode(manifest_file.read_bytes()), manifest_file.parent
    identity = Identity(scope=manifest["scope"])
    for one in manifest["inputs"]:
        topic = shipper.topic(one["kind"], one["format"])
        bodies = _lines(path / one["file"])[lines]
        format = format_of(one["format"], identity)
        for at in range(0, len(bodies), _BATCH):
            part = bodies[at : at + _BATCH]
            shipper.send(topic, part, _entities(format, part) if by_entity else [None] * len(part))


def produce_rows(recorded: Source, shipper: Shipper, *, by_entity: bool) -> None:
    """Send a source's rows in the wire format of their kind, each input in its order."""
    for name, kind in sorted(recorded.partitions().items()):
        topic = shipper.topic(kind, wire.FORMAT_OF[kind])
        for rows in _batches(recorded.open(name)):
            entities = rows["entity"].to_list() if by_entity else [None] * rows.height
            shipper.send(topic, wire.encode(kind, rows), entities)


def _batches(reader: Reader) -> Iterator[pl.DataFrame]:
    try:
        while (batch := reader.next_batch()) is not None:
            if batch[0] is not None and not (frame := expanded(batch[0].frame)).is_empty():
                yield frame
    finally:
        reader.close()


def _lines(file: Path) -> list[bytes]:
    lines = Lines(file)
    try:
        bodies: list[bytes] = []
        while part := lines.take(_BATCH):
            bodies += part
        return bodies
    finally:
        lines.close()


def _entities(format: Format, bodies: Sequence[bytes]) -> list[str | None]:
    frame = format.decode(bodies, range(len(bodies)), "produce").rows
    first = dict(frame.group_by("offset").agg(pl.col("entity").first()).iter_rows())
    return [first.get(number) for number in range(len(bodies))]


def _find_broker(bootstrap: str) -> None:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    try:
        AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=_ANSWER_S)
    except KafkaException as error:
        raise SourceError(
            f"kafka: no broker answers at {bootstrap} ({error.args[0].str()}); see --bootstrap"
        ) from error


def _create(bootstrap: str, topic: str, partitions: int) -> None:
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(timeout=_TIMEOUT_S)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise SourceError(f"kafka: cannot create {topic} at {bootstrap}: {error.args[0].str()}") from error
        present = len(admin.list_topics(topic, timeout=_TIMEOUT_S).topics[topic].partitions)
        if present != partitions:
            raise SourceError(
                f"kafka: {topic} has {present} partitions; say --telemetry-partitions {present}"
            ) from error


def minutes_of(text: str) -> tuple[int, int]:
    """Return `HH:MM-HH:MM` as milliseconds after midnight; raise ConfigError when it is not that."""
    try:
        begin, end = (_clock(one) for one in text.split("-"))
    except ValueError as error:
        raise ConfigError(f"--minutes {text}: give a time of day in UTC, as 03:10-03:20") from error
    return begin, end


def _clock(text: str) -> int:
    hours, minutes = text.split(":")
    return (int(hours) * 60 + int(minutes)) * 60_000


def main(
    path: Annotated[Path, typer.Argument(help="Folder of recorded telemetry.")],
    format: Annotated[str, typer.Option("--format", help="opsbrain or nezha.")],
    bootstrap: Annotated[str, typer.Option("--bootstrap", help="Brokers as host:port,host:port.")],
    day: Annotated[str | None, typer.Option("--day", help="Only this day (YYYY-MM-DD).")] = None,
    minutes: Annotated[str | None, typer.Option("--minutes", help="Only this time of day, HH:MM-HH:MM in UTC.")] = None,
    telemetry_partitions: Annotated[int, typer.Option("--telemetry-partitions", help="Partitions of a topic.")] = 2,
    by_turns: Annotated[bool, typer.Option("--by-turns", help="Spread messages by turns, not by entity.")] = False,
) -> None:
    """Send recorded data to a broker as shippers would have."""
    recorded = source(format, path, day)
    if minutes is not None:
        recorded = Minutes(recorded, *minutes_of(minutes))
    shipper = Shipper(bootstrap, telemetry_partitions)
    if format == "opsbrain":
        produce_recording(path, shipper, by_entity=not by_turns)
    else:
        produce_rows(recorded, shipper, by_entity=not by_turns)
    sent = shipper.end()
    for topic in sorted(sent.messages):
        typer.echo(f"{topic}  {sent.formats[topic]}  {sent.messages[topic]:,} messages")
    typer.echo(f"kinds without data: {', '.join(kind for kind in KINDS if f'telemetry.{kind}' not in sent.messages)}")


if __name__ == "__main__":
    try:
        typer.run(main)
    except OpsBrainError as error:
        sys.exit(f"produce: {error}")
