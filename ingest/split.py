"""Finds the records in a message that holds several: a JSON array, JSON lines, or JSON values one after another.

Shippers send one record a message on Kafka and many a request over HTTP; a wire format need only know one record.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec
import numpy as np
import polars as pl

from engine.ports import Decoded, Format
from engine.schemas import Kind
from engine.types import DeadLetter, Ints
from ingest.refused import UNREADABLE

_ANY: Final = msgspec.json.Decoder(msgspec.Raw)
_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])
_BOM: Final = b"\xef\xbb\xbf"
_TRAILING: Final = re.compile(r"trailing characters \(byte (\d+)\)")

_AT_ONCE: Final = 65_536  # records: a message may hold millions, and each may be refused
_LETTERS: Final = 100  # of one message have a record of their own; of the rest, those with one reason are one letter


def records_of(body: bytes) -> list[bytes]:
    """Return the records of a message: of JSON lines, of a JSON array, of concatenated JSON, or the one that it is.

    What cannot be told apart is one record, which its format then refuses with a reason.
    """
    body = body.removeprefix(_BOM).strip()
    if not body:
        return [body]
    if body[:1] == b"[":
        try:
            return [bytes(one) for one in _ARRAY.decode(body)]
        except UNREADABLE:
            return [body]
    lines = [line for line in (one.strip() for one in body.split(b"\n")) if line]
    if all(map(_is_json, lines)):
        return lines
    values, rest = _values(body)
    if not rest:
        return values
    # a line that is none must not take those beside it along
    return [record for line in lines for values, rest in [_values(line)] for record in (*values, rest) if record]


@dataclass(frozen=True, slots=True)
class Split:
    """Decodes each record of a message by `inner`; rows and letters of one message share its offset.

    `split` returns the records of a message that may hold several: it begins as no object does, or an object begins
    within it where none has to.
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
        parts = [
            self._decoded(records, np.asarray(at, dtype=np.int64), places, input, received_ms)
            for at, records in _parts(bodies, several, self.split)
        ]
        if not parts:
            return self.inner.decode((), (), input)
        dropped: Counter[str] = Counter()
        for part in parts:
            dropped.update(part.dropped)
        letters = _numbered(letter for part in parts for letter in part.letters)
        return Decoded(pl.concat([part.rows for part in parts]), letters, dropped)

    def _decoded(
        self, records: Sequence[bytes], at: Ints, places: Ints, input: str, received_ms: Sequence[int]
    ) -> Decoded:
        """Return what came out of records of the messages `at`, with the offsets of these."""
        came = [received_ms[position] for position in at] if received_ms else ()
        one = self.inner.decode(records, range(len(records)), input, came)
        rows = one.rows.with_columns(pl.Series("offset", places[at[one.rows["offset"].to_numpy()]]))
        letters = [replace(letter, offset=int(places[at[letter.offset]])) for letter in one.letters]
        return Decoded(rows, _numbered(letters), one.dropped)


def _may_hold_several(bodies: Sequence[bytes]) -> pl.Series:
    """Return which messages are worth a look; not one of a topic with one record a message, nearly always."""
    raw = pl.Series(bodies, dtype=pl.Binary).bin
    return ~raw.starts_with(b"{") | raw.contains(b"}{") | raw.contains(b"\n{")


def _parts(
    bodies: Sequence[bytes], several: pl.Series, split: Callable[[bytes], list[bytes]]
) -> Iterator[tuple[list[int], list[bytes]]]:
    """Yield records and the positions of their messages, a bounded number at a time."""
    at: list[int] = []
    records: list[bytes] = []
    for position, (body, look) in enumerate(zip(bodies, several, strict=True)):
        found = split(body) if look else [body]
        records += found
        at += [position] * len(found)
        while len(records) >= _AT_ONCE:
            yield at[:_AT_ONCE], records[:_AT_ONCE]
            del at[:_AT_ONCE], records[:_AT_ONCE]
    if records:
        yield at, records


def _numbered(letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """Return the letters of messages, those of one numbered; beyond a number of them, one for all with one reason."""
    given: Counter[int] = Counter()
    kept: dict[tuple[int, int | str], DeadLetter] = {}
    for letter in letters:
        first = given[letter.offset] < _LETTERS
        key = (letter.offset, given[letter.offset] if first else letter.reason)
        if key in kept:
            kept[key] = replace(kept[key], rows=kept[key].rows + letter.rows)
            continue
        kept[key] = replace(letter, part=given[letter.offset])
        given[letter.offset] += 1
    return list(kept.values())


def _is_json(body: bytes) -> bool:
    try:
        _ANY.decode(body)
    except UNREADABLE:
        return False
    return True


def _values(text: bytes) -> tuple[list[bytes], bytes]:
    """Return the JSON values that stand one after another, and the rest, which begins with none."""
    view = memoryview(text)  # slices of it cost nothing
    found: list[bytes] = []
    start = 0
    while start < len(text):
        end = _end(view[start:])
        if not end:
            break
        found.append(bytes(view[start : start + end]).strip())
        start += end
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
