"""Conformance checks: what every wire format and every source has to keep, run on every registered one and on yours.

`check_format(make, samples)` and `check_source(make)` return what they found wrong, so a test reads
`assert check_format(lambda: Mine(identity), SAMPLES) == []`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import polars as pl

from engine.errors import OpsBrainError
from engine.ports import Format, Source
from engine.schemas import SCHEMAS
from engine.types import DeadLetter, Records
from ingest.refused import MAX_BODY_BYTES
from ingest.times import EARLIEST_MS, LATEST_MS

MakeFormat = Callable[[], Format]
MakeSource = Callable[[], Source]
Decoded = tuple[pl.DataFrame, list[DeadLetter]]

JUNK: Final[tuple[bytes, ...]] = (
    b"",
    b" ",
    b"\n",
    b"{",
    b"{}",
    b"[]",
    b"null",
    b"0",
    b'"text"',
    b"\x00\xff\xfe",
    b'{"a":"\xff"}',
    b'{"a":"\\ud800"}',
    b'{"a":1e999}',
    b"[" * 5_000,
    b'{"a":' * 5_000,
    b"password=hunter2 {",
)
"""Bodies that no JSON format can read, or not as its own."""

_RAISED: Final = (
    *(ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RuntimeError, AssertionError),
    *(OpsBrainError, msgspec.MsgspecError, pl.exceptions.PolarsError),
)
_SECRET: Final = b"hunter2"
_ENTITY: Final = r"^[^/\s]+/(?:service|node|queue|database|account|ci)/[^/\s]+/[^/\s]+$"


def check_format(make: MakeFormat, samples: Sequence[bytes]) -> list[str]:
    """Return what is wrong with a format; `samples` are messages of its own, each readable."""
    raised = _raises(make, samples)
    if raised:
        return raised
    return [
        *_schema(make, samples),
        *_readable(make, samples),
        *_accounted(make, samples),
        *_offsets(make, samples),
        *_pure(make, samples),
        *_scrubbed(make),
    ]


def check_source(make: MakeSource) -> list[str]:
    """Return what is wrong with a source; each call of `make` gives a new one over the same data."""
    source = make()
    found = [] if source.resolution_ms >= 0 else [f"resolution_ms is {source.resolution_ms}"]
    if not source.scopes or not source.partitions():
        found.append("names no scope or no partition")
    for partition, kind in source.partitions().items():
        whole = _read(source, partition)
        found += [f"{partition}: {problem}" for problem in _steady(whole)]
        found += [f"{partition}: {problem}" for problem in _frames(whole, kind, source.scopes)]
        if not _read(make(), partition).same(whole):
            found.append(f"{partition}: another reading gave other rows or dead letters")
        found += [f"{partition}: {problem}" for problem in _resumes(make, partition, whole)]
    return found


def _decode(format: Format, bodies: Sequence[bytes], first: int = 0) -> Decoded:
    return format.decode(bodies, range(first, first + len(bodies)), "input")


def _mixed(samples: Sequence[bytes]) -> list[bytes]:
    """Return samples, junk, and samples broken in many places, in turns."""
    broken = [sample[: len(sample) * cut // 8] for sample in samples for cut in range(1, 8)]
    swapped = [sample.replace(b'"', b"0", cut) for sample in samples for cut in range(1, 8)]
    bodies: list[bytes] = []
    for number, bad in enumerate((*JUNK, *broken, *swapped)):
        bodies += [bad, samples[number % len(samples)]]
    return bodies


def _raises(make: MakeFormat, samples: Sequence[bytes]) -> list[str]:
    """Refuse a format that raises on a body, whatever it holds."""
    found = []
    for body in (*_mixed(samples), b""):
        try:
            _decode(make(), [body])
        except _RAISED as error:
            found.append(f"raises {type(error).__name__} on {body[:60]!r}")
    return found


def _schema(make: MakeFormat, samples: Sequence[bytes]) -> list[str]:
    """Refuse rows in another schema than the kind's, with a batch of nothing too, and impossible times or entities."""
    format = make()
    found = []
    for bodies in ([], list(samples), [b"{"]):
        frame, _ = _decode(format, bodies)
        if frame.schema != SCHEMAS[format.kind]:
            found.append(f"schema of {len(bodies)} messages is {frame.schema}, not that of {format.kind}")
    frame, _ = _decode(format, samples)
    return found + _values(frame)


def _values(frame: pl.DataFrame) -> list[str]:
    found = [f"null in {name}" for name in frame.columns if name != "parent_span_id" and frame[name].has_nulls()]
    if not frame["ts_ms"].is_between(EARLIEST_MS, LATEST_MS).all():
        found.append("a time outside 1980 to 2100")
    if not frame["entity"].str.contains(_ENTITY).all():
        found.append("an entity that is not scope/kind/namespace/name")
    return found


def _readable(make: MakeFormat, samples: Sequence[bytes]) -> list[str]:
    """Refuse a format that cannot read its own samples."""
    return [f"does not read its own sample: {letter.reason}" for letter in _decode(make(), samples)[1]]


def _accounted(make: MakeFormat, samples: Sequence[bytes]) -> list[str]:
    """Refuse a message that gives neither rows nor a dead letter, both, two dead letters, or one without a reason."""
    bodies = _mixed(samples)
    frame, letters = _decode(make(), bodies, first=100)
    rows, dead = set(frame["offset"].to_list()), [letter.offset for letter in letters]
    expected = set(range(100, 100 + len(bodies)))
    found = [f"offset {offset} is lost" for offset in sorted(expected - rows - set(dead))]
    found += [f"offset {offset} is both a row and a dead letter" for offset in sorted(rows & set(dead))]
    found += [f"offset {offset} is invented" for offset in sorted((rows | set(dead)) - expected)]
    if len(dead) != len(set(dead)):
        found.append("a message has two dead letters")
    if any(not letter.reason or letter.input != "input" for letter in letters):
        found.append("a dead letter without its reason or its input")
    return found


def _offsets(make: MakeFormat, samples: Sequence[bytes]) -> list[str]:
    """Refuse rows that are not in the order of their messages, or that depend on how messages are batched."""
    bodies = _mixed(samples)
    frame, letters = _decode(make(), bodies)
    found = [] if frame["offset"].is_sorted() else ["rows are not in the order of their messages"]
    if [letter.offset for letter in letters] != sorted(letter.offset for letter in letters):
        found.append("dead letters are not in the order of their messages")
    format = make()
    parts = [_decode(format, bodies[first : first + 7], first) for first in range(0, len(bodies), 7)]
    if (
        not pl.concat([part for part, _ in parts]).equals(frame)
        or [one for _, some in parts for one in some] != letters
    ):
        found.append("rows depend on how messages are batched")
    return found


def _pure(make: MakeFormat, samples: Sequence[bytes]) -> list[str]:
    """Refuse a format that remembers: the same messages give the same rows, whatever was decoded before."""
    used, bodies = make(), _mixed(samples)
    first = _decode(used, bodies)
    _decode(used, list(reversed(bodies)))
    again = _decode(used, bodies)
    return [] if again[0].equals(first[0]) and again[1] == first[1] else ["decoding twice gives other rows"]


def _scrubbed(make: MakeFormat) -> list[str]:
    """Refuse a dead letter that tells a secret, or that is as long as the message."""
    _, letters = _decode(make(), [b"password=" + _SECRET + b" {", b"{" + b"x" * (4 * MAX_BODY_BYTES)])
    found = [] if all(_SECRET.decode() not in letter.body for letter in letters) else ["a dead letter tells a secret"]
    if any(len(letter.body.encode()) > MAX_BODY_BYTES for letter in letters):
        found.append(f"the body of a dead letter is not clipped to {MAX_BODY_BYTES} bytes")
    return found


@dataclass(frozen=True, slots=True)
class _Reading:
    """All that a reader gave: batches, dead letters, and its position after each."""

    batches: list[Records]
    letters: list[DeadLetter]
    positions: list[int]

    def rows(self) -> list[pl.DataFrame]:
        """Return all rows, as one frame (or none)."""
        return [pl.concat([batch.frame for batch in self.batches])] if self.batches else []

    def same(self, other: _Reading) -> bool:
        """Return whether rows and dead letters are equal, however they are batched."""
        mine, theirs = self.rows(), other.rows()
        return (
            len(mine) == len(theirs) and all(map(pl.DataFrame.equals, mine, theirs)) and self.letters == other.letters
        )


def _read(source: Source, partition: str, offset: int = 0, limit: int | None = None) -> _Reading:
    """Read a partition from `offset` on to its end, or `limit` batches of it."""
    reader = source.open(partition, offset)
    got = _Reading([], [], [reader.position])
    while (limit is None or len(got.positions) <= limit) and (batch := reader.next_batch()) is not None:
        records, letters = batch
        got.batches.extend([records] if records is not None else [])
        got.letters.extend(letters)
        got.positions.append(reader.position)
    reader.close()
    return got


def _steady(whole: _Reading) -> list[str]:
    """Refuse positions that go back, or that a batch contradicts; offsets that are not before the next position."""
    found = [] if whole.positions == sorted(whole.positions) else ["positions go back"]
    if whole.positions[0] != 0:
        found.append("a reader that was opened at the beginning stands elsewhere")
    for batch in whole.batches:
        if batch.next_offset not in whole.positions:
            found.append(f"next_offset {batch.next_offset} is no position of the reader")
        if not batch.frame["offset"].is_sorted() or int(batch.frame["offset"].max() or 0) >= batch.next_offset:  # type: ignore[arg-type]
            found.append(f"offsets before {batch.next_offset} are out of order or reach beyond it")
    return found


def _frames(whole: _Reading, kind: str, scopes: Sequence[str]) -> list[str]:
    """Refuse rows in another schema, of another scope, or with impossible values."""
    found = [f"a batch is of kind {batch.kind}, not {kind}" for batch in whole.batches if batch.kind != kind]
    for frame in whole.rows():
        if frame.schema != SCHEMAS[whole.batches[0].kind]:
            return [*found, f"schema is {frame.schema}"]
        found += _values(frame)
        strange = set(frame["entity"].str.split("/").list.first().unique()) - set(scopes)
        found += [f"rows of scope {scope}, which the source does not name" for scope in sorted(strange)]
    return found


def _resumes(make: MakeSource, partition: str, whole: _Reading) -> list[str]:
    """Refuse a source that, opened at any position that it gave or amid its rows, does not go on exactly from there."""
    offsets = sorted({*whole.positions, *_amid(whole)})
    tried = offsets[:: max(1, len(offsets) // 6)] + offsets[-1:]
    wrong = [one for one in tried if not _read(make(), partition, one).same(_from(whole, one))]
    return [f"resuming at {offset} is not the rest of the uninterrupted reading" for offset in wrong]


def _amid(whole: _Reading) -> list[int]:
    return [int(frame["offset"][part * (frame.height - 1) // 4]) for frame in whole.rows() for part in range(1, 5)]


def _from(whole: _Reading, offset: int) -> _Reading:
    kept = defaultdict(list)
    for batch in whole.batches:
        frame = batch.frame.filter(pl.col("offset") >= offset)
        if not frame.is_empty():
            kept["batches"].append(Records(batch.kind, frame, batch.input, batch.next_offset))
    return _Reading(kept["batches"], [letter for letter in whole.letters if letter.offset >= offset], [])
