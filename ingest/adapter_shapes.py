"""Recognises samples of the adapter by the bytes that senders write each time: all but a time and a value.

Two layouts, each also with a space behind every comma and colon:

    {"labels":{...},"name":"up","timestamp":"2026-11-21T06:20:00Z","value":"1"}      Go sorts keys
    {"timestamp":"2026-11-21T06:20:00Z","value":"1","name":"up","labels":{...}}      as the adapter documents it

What is neither time nor value is looked up by its hash, at once for a whole batch; it is known once a full reading of
such a message gave a series. Why that reading holds for every message with the same bytes there:

- At the end. The bytes up to the time were the beginning of a JSON object in which a string, the value of the key
  "timestamp", began just there: the quotes from the end of that message backwards leave no other way to read it, since
  neither is escaped. The keys behind are the last, and of equal keys the last counts.
- At the beginning. What follows was the rest of an object, and has neither of the two keys itself: asked when learned.

Time and value must be plain text: no quote, no backslash, nothing that is not ASCII, or they are read the slow way; so
is a row that would be refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.hash_numbers import UNKNOWN, HashNumbers
from engine.types import Floats, Ints
from ingest.refused import UNREADABLE
from ingest.times import rfc3339_ms

MAX_KNOWN: Final = 2_500_000
"""How many are remembered before all are forgotten, at 16 to 54 bytes each."""

_TIME_BYTES: Final = 20
_VALUE_BYTES: Final = 30  # the longest value that is looked for
_LONGEST: Final = 8_192  # bytes of a message; a longer one is read the slow way
_MAX_TIMES: Final = 10_000
_BEFORE: Final = bytes(64)
_QUOTE: Final = 0x22
_HIGH_BITS: Final = np.uint64(0x8080808080808080)
_CUTS: Final = ("key", "key_length", "value", "value_length")
_OUTSIDE: Final = -1  # the time of a message whose time cannot be read

Bytes = NDArray[np.uint8]
Hashes = NDArray[np.uint64]


class _Rest(msgspec.Struct):
    """What must not stand in a message beside its first two keys."""

    timestamp: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_REST: Final = msgspec.json.Decoder(_Rest)


class _Shape:
    """Where a sender writes time and value: `before` the time, `between` it and the value, `behind` the value."""

    def __init__(self, before: bytes, between: bytes, behind: bytes, *, first: bool) -> None:
        self.first = first
        self.behind = behind
        self.size = len(before) + _TIME_BYTES + len(between)  # from `before` up to the value
        self.time_at = len(before)
        at = -self.size % 8 + len(before)
        self.time_words = slice(at // 8, (at + _TIME_BYTES + 7) // 8)
        padded = -self.size % 8
        text = bytes(padded) + before + bytes(_TIME_BYTES) + between
        wanted = bytes(padded) + b"\xff" * len(before) + bytes(_TIME_BYTES) + b"\xff" * len(between)
        self.words = [
            (place, mask, word)
            for place, (mask, word) in enumerate(zip(_words_of(wanted), _words_of(text), strict=True))
            if mask
        ]
        self.width = len(text)  # of `size` bytes and those before them that make whole words


def _words_of(text: bytes) -> list[np.uint64]:
    return list(np.frombuffer(text, np.uint64))


_SHAPES: Final = (
    _Shape(b',"timestamp":"', b'","value":"', b'"}', first=False),
    _Shape(b'{"timestamp":"', b'","value":"', b'",', first=True),
    _Shape(b', "timestamp": "', b'", "value": "', b'"}', first=False),
    _Shape(b'{"timestamp": "', b'", "value": "', b'",', first=True),
)


@dataclass(frozen=True, slots=True)
class Recognised:
    """What was recognised of a batch.

    at          (N,) positions of the messages that are read, in order
    numbers     (N,) of their series
    ts_ms       (N,) times in Unix milliseconds
    values      (N,) as written; may be infinite
    learnable   (M, 4) messages that are of a shape, but whose other bytes are not known: position, hash, check, and
                where the rest begins behind time and value, 0 where these come last
    """

    at: Ints
    numbers: Ints
    ts_ms: Ints
    values: Floats
    learnable: Hashes


class Shapes:
    """Remembers series by the bytes beside times and values."""

    __slots__ = ("_shape", "_times", "numbers")

    def __init__(self) -> None:
        self.numbers = HashNumbers()
        self._times: dict[bytes, int] = {}
        self._shape = _SHAPES[0]  # of the last sender: tried first

    def forget(self) -> None:
        """Forget all series; necessary when their numbers are."""
        self.numbers.clear()

    def recognised(self, bodies: Sequence[bytes]) -> Recognised:
        """Return the rows of the messages that are recognised."""
        batch = _Batch(bodies)
        left = np.flatnonzero(batch.sizes <= _LONGEST)
        parts = []
        for shape in (self._shape, *(one for one in _SHAPES if one is not self._shape)):
            found = self._of_shape(batch, left, shape)
            parts.append(found)
            if 2 * (len(found.at) + len(found.learnable)) > len(bodies):
                self._shape = shape
            left = _without(left, found, len(bodies))
            if not len(left):
                break
        return parts[0] if len(parts) == 1 else _in_order(parts)

    def learn(self, bodies: Sequence[bytes], learnable: Hashes, numbers: Ints) -> None:
        """Remember messages that were read in full, given the numbers of their series; those below 0 are none."""
        wanted = numbers >= 0
        for row in np.flatnonzero(wanted).tolist():
            wanted[row] = _is_whole(bodies[int(learnable[row, 0])], int(learnable[row, 3]))
        if len(self.numbers) > MAX_KNOWN:
            self.numbers.clear()
        self.numbers.add(learnable[wanted, 1], numbers[wanted], learnable[wanted, 2])

    def _of_shape(self, batch: _Batch, at: Ints, shape: _Shape) -> Recognised:
        at, start, length = batch.values_of(at, shape)
        text = batch.words(start - shape.width, shape.width)
        fits = np.ones(len(at), np.bool_)
        for place, mask, word in shape.words:
            fits &= text[:, place] & mask == word
        if not fits.all():
            at, start, length, text = at[fits], start[fits], length[fits], text[fits]
        ts_ms = self._times_at(batch, start - (shape.size - shape.time_at), text[:, shape.time_words])
        hashes, checks, values, usable = batch.read(at, start, length, shape)
        usable &= ts_ms != _OUTSIDE
        if not usable.all():
            at, start, length, ts_ms = (one[usable] for one in (at, start, length, ts_ms))
            hashes, checks, values = hashes[usable], checks[usable], values[usable]
        numbers = self.numbers.find(hashes, checks)
        known = numbers != UNKNOWN
        if known.all():
            return Recognised(at, numbers, ts_ms, values, np.empty((0, 4), np.uint64))
        rest_at = shape.size + length + len(shape.behind) if shape.first else np.zeros_like(at)
        learnable = np.column_stack([at.astype(np.uint64), hashes, checks, rest_at.astype(np.uint64)])[~known]
        return Recognised(at[known], numbers[known], ts_ms[known], values[known], learnable)

    def _times_at(self, batch: _Batch, places: Ints, words: Hashes) -> Ints:
        """Return (N,) the times that stand at places (in `words`, with what is the same everywhere).

        Each text is read once, and a scrape has one for all.
        """
        if not len(places):
            return places
        changed = np.zeros(len(places), np.bool_)
        changed[0] = True
        for word in words.T:
            changed[1:] |= word[1:] != word[:-1]
        starts = np.flatnonzero(changed)
        joined = batch.joined
        texts = [joined[place : place + _TIME_BYTES] for place in places[starts].tolist()]
        self._read_times(texts)
        times = np.fromiter(map(self._times.__getitem__, texts), np.int64, len(texts))
        return times if len(times) == len(places) else np.repeat(times, np.diff(np.r_[starts, len(places)]))

    def _read_times(self, texts: Sequence[bytes]) -> None:
        new = [text for text in dict.fromkeys(texts) if text not in self._times]
        if not new:
            return
        if len(self._times) + len(new) > _MAX_TIMES:
            self._times.clear()
            new = list(dict.fromkeys(texts))
        plain = [text if _is_plain(text) else b"" for text in new]
        read = rfc3339_ms(pl.Series([text.decode() for text in plain], dtype=pl.String)).fill_null(_OUTSIDE)
        self._times.update(zip(new, read.to_list(), strict=True))


class _Batch:
    """Messages, as one stretch of bytes and as a column."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self.column = pl.Series(bodies, dtype=pl.Binary)
        self.joined = b"".join((_BEFORE, *bodies, _BEFORE))
        self.raw = np.frombuffer(self.joined, np.uint8)
        self.sizes = self.column.bin.size().to_numpy().astype(np.int64)
        self.ends = np.cumsum(self.sizes) + len(_BEFORE)

    def words(self, places: Ints, width: int) -> Hashes:
        """Return (N, width / 8) the bytes at each place."""
        return self._at(places, f"V{width}").view(np.uint64).reshape(len(places), width // 8)

    def values_of(self, at: Ints, shape: _Shape) -> tuple[Ints, Ints, Ints]:
        """Return the messages that may be of a shape, where the texts of their values begin and how long they are."""
        behind = np.frombuffer(shape.behind, "<u2")[0]
        if shape.first:
            start = self.ends[at] - self.sizes[at] + shape.size
            bits, plain = _quotes(self._at(np.minimum(start, len(self.joined) - 32), "V32"))
            length = 32 - _bit_length(bits)
            ends = start + length
            fits = plain & (bits != 0) & (self.ends[at] - ends > 4)
            fits &= self._at(np.minimum(ends, len(self.joined) - 2), "<u2") == behind
        else:
            ends = self.ends[at] - len(shape.behind)
            bits, plain = _quotes(self._at(np.maximum(ends - 32, 0), "V32"))
            length = _bit_length(bits & -bits) - 1
            start = ends - length
            fits = plain & (bits != 0) & (self._at(np.maximum(ends, 0), "<u2") == behind)
            fits &= start - shape.size > self.ends[at] - self.sizes[at]
        fits &= length <= _VALUE_BYTES
        return (at, start, length) if fits.all() else (at[fits], start[fits], length[fits])

    def read(
        self, at: Ints, start: Ints, length: Ints, shape: _Shape
    ) -> tuple[Hashes, Hashes, Floats, NDArray[np.bool_]]:
        """Return (N,) the hashes of what is neither time nor value, their checks, the values, and which are numbers."""
        begin = self.ends[at] - self.sizes[at]
        if shape.first:
            key = start + length + len(shape.behind)
            key_length = self.ends[at] - key
        else:
            key = begin
            key_length = start - shape.size + shape.time_at - key
        column = self.column if len(at) == len(self.sizes) else self.column.gather(at)
        columns = (column, key - begin, key_length, start - begin, length)
        body, places = pl.col("body").bin, (pl.col(name) for name in _CUTS)
        cut = pl.DataFrame(list(map(pl.Series, ("body", *_CUTS), columns))).select(
            key=body.slice(next(places), next(places)), value=body.slice(next(places), next(places)).cast(pl.String)
        )
        # a key at the end of one sender's messages may be one at the beginning of another's: both have their own
        read = cut.select(
            pl.col("key").hash(1 + shape.first).alias("hash"),
            pl.col("key").hash(3 + shape.first).alias("check"),
            pl.col("value").cast(pl.Float64, strict=False),
        )
        value = read["value"]
        numbers = value.is_not_null().to_numpy() if value.has_nulls() else np.ones(len(at), np.bool_)
        return read["hash"].to_numpy(), read["check"].to_numpy(), value.to_numpy(), numbers.copy()

    def _at(self, places: Ints, dtype: str) -> NDArray[Any]:
        size = np.dtype(dtype).itemsize
        return np.ndarray((len(self.joined) - size + 1,), dtype, self.joined, 0, (1,))[places]


def _quotes(texts: NDArray[Any]) -> tuple[Ints, NDArray[np.bool_]]:
    """Return (N,) where quotes are in 32 bytes, a bit each, the first byte's the highest; and which are all ASCII."""
    quotes = texts.view(np.uint8).reshape(len(texts), 32) == _QUOTE
    high = texts.view(np.uint64).reshape(len(texts), 4) & _HIGH_BITS
    plain = np.ones(len(texts), np.bool_)
    if high.any():
        plain &= ~high.any(axis=1)
    return np.packbits(quotes, axis=1).view(">u4").ravel().astype(np.int64), plain


def _bit_length(numbers: Ints) -> Ints:
    """Return (N,) how many bits numbers below 2^53 have."""
    return np.frexp(numbers.astype(np.float64))[1].astype(np.int64)


def _is_plain(text: bytes) -> bool:
    """Return whether bytes within quotes are the text that they show."""
    return text.isascii() and text.decode().isprintable() and b'"' not in text and b"\\" not in text


def _is_whole(body: bytes, rest_at: int) -> bool:
    """Return whether the bytes that are looked up say all of a message but time and value, which it was read with."""
    if not body.startswith(b"{"):
        return False
    if not rest_at:
        return True
    try:
        rest = _REST.decode(b"{" + body[rest_at:])
    except UNREADABLE:
        return False
    return rest.timestamp is msgspec.UNSET and rest.value is msgspec.UNSET


def _without(positions: Ints, found: Recognised, messages: int) -> Ints:
    """Return those of the positions that are not of a shape."""
    left = np.zeros(messages, np.bool_)
    left[positions] = True
    left[found.at] = False
    left[found.learnable[:, 0].astype(np.int64)] = False
    return np.flatnonzero(left)


def _in_order(parts: Sequence[Recognised]) -> Recognised:
    at = np.concatenate([one.at for one in parts])
    order = np.argsort(at, kind="stable")
    return Recognised(
        at[order],
        np.concatenate([one.numbers for one in parts])[order],
        np.concatenate([one.ts_ms for one in parts])[order],
        np.concatenate([one.values for one in parts])[order],
        np.concatenate([one.learnable for one in parts]),
    )
