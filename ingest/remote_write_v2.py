"""Reads remote-write 2.0 requests: a table of texts, and series whose labels refer to it.

    Request { symbols = 4, timeseries = 5 { labels_refs = 1, samples = 2, histograms = 3, exemplars = 4,
              metadata = 5 { type = 1, help_ref = 3, unit_ref = 4 } } }

References mean something in their request only. So texts get numbers of our own, which hold from request to request,
and a series is known by the numbers of its labels and by its form.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ingest.protobuf import MASK_32, Malformed, fields, length_key, packed, varint_key
from ingest.remote_write import MAX_ROWS, TOO_MANY, Collected, Pairs, Series, sample_of
from ingest.remote_write_tails import FULL_BYTES, SHAPE, ZERO_BYTES, ZERO_MARK

SYMBOLS: Final = length_key(4)
TIMESERIES: Final = length_key(5)

_OF_VERSION_1: Final = (length_key(1), length_key(3))

_REFS: Final = length_key(1)
_REF: Final = varint_key(1)  # the same, not packed
_SAMPLE: Final = length_key(2)
_HISTOGRAM: Final = length_key(3)
_METADATA: Final = length_key(5)
_TYPE: Final = varint_key(1)

_UNSAID: Final = b"-"
_FORMS: Final = {1: b"counter", 2: b"gauge", 3: b"counter", 4: b"gauge", 6: b"gauge", 7: b"gauge"}
"""Form by type: counter, gauge, histogram, gauge histogram, info, state set; of a summary (5) the name tells it."""

_MISFIT: Final = "remote-write: references of labels do not fit the symbols"
_MARGIN: Final = bytes(260)
_MAX_TEXTS: Final = 2_000_000
_MAX_TEXT_BYTES: Final = 128 * 1024 * 1024
_MAX_TAILS: Final = 10_000
_MAX_TAIL_BYTES: Final = 32


class Texts:
    """Numbers texts, the same from request to request, and remembers what the ends of series say of their form."""

    __slots__ = ("_bytes", "_numbers", "forms", "known")

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._bytes = 0
        self.known: list[bytes] = []
        self.forms: dict[bytes, bytes] = {}

    @property
    def full(self) -> bool:
        """Return whether it is time to forget them, and with them every series known by their numbers."""
        return len(self.known) > _MAX_TEXTS or self._bytes > _MAX_TEXT_BYTES

    def clear(self) -> None:
        """Forget all."""
        self._numbers.clear()
        self.known.clear()
        self._bytes = 0

    def numbers(self, texts: Sequence[bytes]) -> NDArray[np.uint32]:
        """Return the numbers of texts; new ones get the next."""
        found = list(map(self._numbers.get, texts))
        place = -1
        for _ in range(found.count(None)):
            place = found.index(None, place + 1)
            found[place] = self._number(texts[place])
        return np.array(found, np.uint32)

    def _number(self, text: bytes) -> int:
        number = self._numbers.setdefault(text, len(self.known))
        if number == len(self.known):
            self.known.append(text)
            self._bytes += len(text)
        return number

    def pairs(self, numbers: bytes) -> Pairs:
        """Return names and values of labels by the numbers of their texts, as bytes of uint32."""
        texts = [self.known[number] for number in np.frombuffer(numbers, np.uint32)]
        return list(zip(texts[::2], texts[1::2], strict=True))

    def remember_form(self, tail: bytes, form: bytes) -> None:
        """Remember what the bytes after a sample say, if they are few, as they should be."""
        if len(tail) <= _MAX_TAIL_BYTES:
            if len(self.forms) >= _MAX_TAILS:
                self.forms.clear()
            self.forms[tail] = form


class _Found:
    """What lies in a request: its symbols, the series of the usual shape, and where the odd ones are among them."""

    __slots__ = ("forms", "middles", "odd", "refs", "symbols")

    def __init__(self) -> None:
        self.symbols: list[bytes] = []
        self.refs: list[bytes] = []
        self.forms: list[bytes] = []
        self.middles: list[int] = []  # where the sample begins
        self.odd: list[tuple[int, int, int]] = []  # before which usual series, and its bounds


def collect(body: bytes, series: Series, texts: Texts, trusting: bool = True) -> Collected:
    """Return the rows of a request; raise Malformed where it is none.

    `trusting` takes what lies between references and a known end for a sample of a usual shape, to be checked when it
    is read; without it every series is looked at.
    """
    found = _found(body, texts, trusting)
    if len(found.middles) + len(found.odd) > MAX_ROWS:
        raise Malformed(TOO_MANY)
    usual = _numbers(found.refs, found.forms, found.symbols, series, texts)
    ends = _ends(body, found.middles)
    rows, done = Collected(), 0
    for before, start, end in found.odd:
        rows.numbers += usual[done:before]
        rows.ends += ends[done:before]
        done = before
        _add_odd(body, start, end, found.symbols, series, texts, rows)
    rows.numbers += usual[done:]
    rows.ends += ends[done:]
    return rows


def _found(body: bytes, texts: Texts, trusting: bool) -> _Found:
    found = _Found()
    refs, forms, middles = found.refs, found.forms, found.middles
    get = texts.forms.get if trusting else _nobody
    peek = body + _MARGIN  # a short series may be the last
    at, size = 0, len(body)
    try:
        while at < size:
            low = body[at + 1]
            if body[at] == SYMBOLS and low < 128:
                found.symbols.append(body[at + 2 : at + 2 + low])
                at += 2 + low
                continue
            if body[at] != TIMESERIES or (low > 127 and body[at + 2] > 127):
                at = _other_field(body, at, texts, found)
                continue
            start, at = (at + 2, at + 2 + low) if low < 128 else (at + 3, at + low - 125 + (body[at + 2] << 7))
            count = peek[start + 1]
            middle = start + 2 + count
            tail = middle + (ZERO_BYTES if peek[middle + 1] == ZERO_MARK else FULL_BYTES)
            form = get(body[tail:at])
            if form is None or tail > at or not 0 < count < 128 or peek[start] != _REFS:
                _look_at(body, start, at, texts, found)
            else:
                refs.append(body[start + 2 : middle])
                forms.append(form)
                middles.append(middle)
    except IndexError:
        at = size + 1
    if at > size:
        raise Malformed("protobuf: a field is cut off")
    return found


def _nobody(tail: bytes) -> None:
    """Know no end of a series."""


def _other_field(body: bytes, at: int, texts: Texts, found: _Found) -> int:
    """Take the field at `at`, whatever it is; return where it ends."""
    for key, a, b in fields(body, at):
        if key == SYMBOLS:
            found.symbols.append(body[a:b])
        elif key == TIMESERIES:
            _look_at(body, a, b, texts, found)
        elif key in _OF_VERSION_1:
            raise Malformed("remote-write: holds fields of 1.0 and of 2.0")
        return b
    return len(body)


def _look_at(body: bytes, start: int, end: int, texts: Texts, found: _Found) -> None:
    """Take in one series, after a look at each of its fields."""
    if end > len(body):
        raise Malformed("protobuf: a field is cut off")
    parts = list(fields(body, start, end))
    keys = [key for key, _, _ in parts]
    shape = SHAPE.match(body, parts[0][2], end) if keys[:2] == [_REFS, _SAMPLE] else None
    (_, a, b) = parts[0] if parts else (0, 0, 0)
    if shape and 0 < b - a < 128 and a == start + 2 and not {_REFS, _REF, _SAMPLE, _HISTOGRAM} & set(keys[2:]):
        form = _form(body, parts)
        texts.remember_form(body[shape.end() : end], form)
        found.refs.append(body[a:b])
        found.forms.append(form)
        found.middles.append(b)
    else:
        found.odd.append((len(found.middles), start, end))


def _form(body: bytes, parts: Sequence[tuple[int, int, int]]) -> bytes:
    """Return what a series' metadata say of its form."""
    form = _UNSAID
    for key, start, end in parts:
        if key == _METADATA:
            for inner, value, _ in fields(body, start, end):
                if inner == _TYPE:
                    form = _FORMS.get(value & MASK_32, _UNSAID)
    return form


def _ends(body: bytes, middles: Sequence[int]) -> list[int]:
    """Return where samples of a usual shape end, by where they begin; raise `Unusual` if one has none."""
    raw, begin = np.frombuffer(body, np.uint8), np.array(middles, np.int64)
    zero = raw[begin + 1] == ZERO_MARK
    ends = begin + np.where(zero, ZERO_BYTES, FULL_BYTES)
    if not np.array_equal(raw[ends - 8] == ZERO_MARK, zero):
        raise Unusual
    found: list[int] = ends.tolist()
    return found


class Unusual(Exception):
    """A series has another shape than its neighbours made believe."""


def _numbers(
    refs: Sequence[bytes], forms: Sequence[bytes], symbols: Sequence[bytes], series: Series, texts: Texts
) -> list[int]:
    """Return the numbers of series by the references of their labels; raise Malformed where these refer to nothing."""
    if not refs:
        return []
    blob, bounds = _label_texts(refs, symbols, texts)
    get = series.table.numbers.get
    keys = [form + blob[a:b] for form, a, b in zip(forms, [0, *bounds], bounds, strict=False)]
    found = list(map(get, keys))
    place = -1
    for _ in range(found.count(None)):
        place = found.index(None, place + 1)
        found[place] = _number(keys[place], forms[place], series, texts)
    return found  # type: ignore[return-value]


def _number(key: bytes, form: bytes, series: Series, texts: Texts) -> int:
    said = "" if form == _UNSAID else form.decode()
    return series.number(key, partial(texts.pairs, key[len(form) :]), said)


def _label_texts(refs: Sequence[bytes], symbols: Sequence[bytes], texts: Texts) -> tuple[bytes, list[int]]:
    """Return the texts of the labels of all series, as bytes of uint32, and where in them each series ends."""
    joined = b"".join(refs)
    ends = np.cumsum(np.fromiter(map(len, refs), np.int64, len(refs)))
    last = np.frombuffer(joined, np.uint8) < 128
    if not last[ends - 1].all():
        raise Malformed(_MISFIT)
    places = packed(joined)
    counts = np.cumsum(last)[ends - 1]
    if (counts & 1).any() or (len(places) and places.max() >= len(symbols)):
        raise Malformed(_MISFIT)
    bounds: list[int] = (counts * 4).tolist()
    return texts.numbers(symbols)[places].tobytes(), bounds


def _add_odd(
    body: bytes, start: int, end: int, symbols: Sequence[bytes], series: Series, texts: Texts, rows: Collected
) -> None:
    """Add the rows of a series that is none, or many, or of a native histogram, or has its fields in another order."""
    parts = list(fields(body, start, end))
    refs = [int(ref) for key, a, b in parts for ref in (packed(body, a, b) if key == _REFS else [a] * (key == _REF))]
    if len(refs) & 1 or (refs and max(refs) >= len(symbols)):
        raise Malformed(_MISFIT)
    labels, form = texts.numbers([symbols[ref] for ref in refs]).tobytes(), _form(body, parts)
    for key, a, b in parts:
        if key == _SAMPLE:
            rows.add(_number(form + labels, form, series, texts), sample_of(body, a, b))
    for key, a, b in parts:
        if key == _HISTOGRAM:
            rows.add_histogram(series, b"2" + labels, partial(texts.pairs, labels), body, a, b)
