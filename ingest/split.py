"""Finds the records in a message that holds several: a JSON array, JSON lines, or JSON values one after another.

Shippers send one record a message on Kafka and many a request over HTTP; a wire format need only know one record.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec
import numpy as np
import polars as pl

from engine.errors import DataError
from engine.ports import Decoded, Format
from engine.schemas import Kind
from ingest.refused import UNREADABLE, gathered

FEW_RECORDS: Final = 1_000
RECORD_BYTES: Final = 24
"""How small the records of a message may be on average where they are more than a few."""

_ANY: Final = msgspec.json.Decoder(msgspec.Raw)
_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])
_BOM: Final = b"\xef\xbb\xbf"
_TRAILING: Final = re.compile(r"trailing characters \(byte (\d+)\)")
_NO_JSON: Final = "}"  # so that what begins with it is refused before anything is made of it

_AT_ONCE: Final = 65_536  # records: a message may hold a million, and each may be refused
_LARGE_BYTES: Final = 1 << 18
_DENSEST: Final = (((b",",), 5), ((b"{", b"["), 6))  # marks, and of how many bytes of a large message one may be one


class TooDense(DataError):
    """A message is next to nothing but separators: no telemetry looks like that, and it would cost far too much."""


def most_records(size: int) -> int:
    """Return how many records a message of that many bytes may hold; every reader of many keeps to it."""
    return max(FEW_RECORDS, size // RECORD_BYTES)


def too_many(size: int) -> TooDense:
    """Return what to raise for a message of that many bytes which holds more."""
    return TooDense(f"more than {most_records(size):,} records in {size:,} bytes: no telemetry looks like that")


def records_of(body: bytes) -> list[bytes]:
    """Return the records of a message: of JSON lines, of a JSON array, of concatenated JSON, or the one that it is.

    What cannot be told apart is one record, which its format then refuses with a reason. Takes time and memory in
    proportion to the body; raises TooDense when it has more records than `most_records`, or is little but separators.
    """
    _check_marks(body)
    body = body.removeprefix(_BOM).strip()
    if not body:
        return [body]
    if body[:1] == b"[":
        return _of_array(body)
    most = most_records(len(body))
    lines = _lines(body) if body.count(b"\n") < most else []  # so many are values on several lines, or too many
    if lines and all(map(_is_json, lines)):
        return lines
    values, rest = _values(body, most)
    return values if not rest else _of_lines(body, most)


def _of_array(body: bytes) -> list[bytes]:
    try:
        found = _ARRAY.decode(body)
    except UNREADABLE:
        return [body]
    if len(found) > most_records(len(body)):
        raise too_many(len(body))
    return [bytes(one) for one in found]


def _of_lines(body: bytes, most: int) -> list[bytes]:
    """Return the values of each line, and what is none: it must not take the lines beside it along."""
    if body.count(b"\n") >= most:
        raise too_many(len(body))
    found: list[bytes] = []
    for line in _lines(body):
        values, rest = _values(line, most)
        found += [*values, rest] if rest else values
        if len(found) > most:
            raise too_many(len(body))
    return found


def _lines(body: bytes) -> list[bytes]:
    return [line for line in (one.strip() for one in body.split(b"\n")) if line]


def _check_marks(body: bytes) -> None:
    """Raise TooDense for a large message of separators: what they part becomes objects, whatever it is nested in.

    An empty object is 30 times as large as its text, one with a key 25 times; no record of any shipper comes near.
    """
    if len(body) <= _LARGE_BYTES:
        return
    for marks, each_bytes in _DENSEST:
        if sum(body.count(mark) for mark in marks) * each_bytes > len(body):
            raise TooDense("the message is next to nothing but separators: no telemetry looks like that")


@dataclass(frozen=True, slots=True)
class Split:
    """Decodes each record of a message by `inner`; rows and letters of one message share its offset.

    `split` returns the records of a message that may hold several: it begins as no object does, or an object begins
    within it where none has to, or it is large. One that it says is TooDense becomes one dead letter.
    """

    inner: Format
    split: Callable[[bytes], list[bytes]] = field(default=records_of, compare=False)

    @property
    def name(self) -> str:
        """Return the format's name."""
        return self.inner.name

    @property
    def kind(self) -> Kind:
        """Return the kind of its rows."""
        return self.inner.kind

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return the rows of every record, and a dead letter for each that is none."""
        several = _may_hold_several(bodies)
        if not several.any():
            return self.inner.decode(bodies, offsets, input, received_ms)
        places = np.asarray(offsets, dtype=np.int64)
        dense: dict[int, TooDense] = {}
        parts = [
            self.inner.decode(
                records, places[at].tolist(), input, [received_ms[one] for one in at] if received_ms else ()
            )
            for at, records in self._lots(bodies, several, dense)
        ]
        parts += [self._refused(bodies[at], int(places[at]), input, why) for at, why in dense.items()]
        return _together(parts) if parts else self.inner.decode((), (), input)

    def _lots(
        self, bodies: Sequence[bytes], several: pl.Series, dense: dict[int, TooDense]
    ) -> Iterator[tuple[list[int], list[bytes]]]:
        """Yield records and the positions of their messages, a bounded number at a time; messages may go to `dense`."""
        at: list[int] = []
        records: list[bytes] = []
        for position, (body, look) in enumerate(zip(bodies, several, strict=True)):
            try:
                found = self.split(body) if look else [body]
            except TooDense as error:
                dense[position] = error
                continue
            records += found
            at += [position] * len(found)
            while len(records) >= _AT_ONCE:
                yield at[:_AT_ONCE], records[:_AT_ONCE]
                del at[:_AT_ONCE], records[:_AT_ONCE]
        if records:
            yield at, records

    def _refused(self, body: bytes, offset: int, input: str, error: TooDense) -> Decoded:
        """Return the letter of a whole message, which shows as much of it as the format shows of what is no JSON."""
        none = self.inner.decode([_NO_JSON.encode() + body], [offset], input)
        letters = [replace(one, reason=str(error), body=one.body.removeprefix(_NO_JSON)) for one in none.letters]
        return replace(none, letters=letters)


def _together(parts: Sequence[Decoded]) -> Decoded:
    """Return what came out of all lots as one, with letters in the order of the messages and numbered in each."""
    dropped: Counter[str] = Counter()
    for part in parts:
        dropped.update(part.dropped)
    letters = sorted((letter for part in parts for letter in part.letters), key=lambda one: one.offset)
    found = gathered((letter.offset, letter.reason, letter.rows, letter) for letter in letters)
    numbered = [replace(one.what, part=one.part, rows=one.rows) for one in found]
    return Decoded(pl.concat([part.rows for part in parts]), numbered, dropped)


def _may_hold_several(bodies: Sequence[bytes]) -> pl.Series:
    """Return which messages are worth a look; not one of a topic with one record a message, nearly always."""
    raw = pl.Series(bodies, dtype=pl.Binary).bin
    return ~raw.starts_with(b"{") | raw.contains(b"}{") | raw.contains(b"\n{") | (raw.size() > _LARGE_BYTES)


def _is_json(body: bytes) -> bool:
    try:
        _ANY.decode(body)
    except UNREADABLE:
        return False
    return True


def _values(text: bytes, most: int) -> tuple[list[bytes], bytes]:
    """Return the JSON values that stand one after another, and the rest, which begins with none.

    Raises TooDense as soon as they are more than `most`.
    """
    view = memoryview(text)  # slices of it cost nothing
    found: list[bytes] = []
    start = 0
    while start < len(text):
        end = _end(view[start:])
        if not end:
            break
        found.append(bytes(view[start : start + end]).strip())
        start += end
        if len(found) > most:
            raise too_many(len(text))
    return found, text[start:]


def _end(view: memoryview) -> int:
    """Return where the first JSON value ends, 0 where there is none."""
    try:
        _ANY.decode(view)
    except msgspec.DecodeError as error:
        more = _TRAILING.search(str(error))
        return int(more[1]) - 1 if more else 0  # it names the byte behind
    except UNREADABLE:
        return 0
    return len(view)
