"""Reads remote-write 1.0 requests: series with their labels, written out with each sample.

    WriteRequest { timeseries = 1 { labels = 1 { name = 1, value = 2 }, samples = 2, exemplars = 3, histograms = 4 },
                   metadata = 3 }

The labels of a series come first and are the same bytes in every request, so a series is known by these bytes. When a
series that begins with known bytes goes on with just a sample of a usual shape, nothing of it need be looked at again:
the known bytes were whole fields when they were learned.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from ingest.protobuf import Malformed, fields, length, length_key, written
from ingest.remote_write import MAX_ROWS, TOO_MANY, Collected, Pairs, Series, sample_of
from ingest.remote_write_tails import FULL_BYTES, SHAPE, ZERO_BYTES, ZERO_MARK

TIMESERIES: Final = length_key(1)
METADATA: Final = length_key(3)

_OF_VERSION_2: Final = (length_key(4), length_key(5))

_LABEL: Final = length_key(1)
_LABEL_TAG: Final = bytes([_LABEL])
_SAMPLE: Final = length_key(2)
_HISTOGRAM: Final = length_key(4)
_NAME: Final = length_key(1)
_TEXT: Final = length_key(2)
_NO_LABELS: Final = b"-"  # the key of a series without labels; not "", which a sample cut short would ask for


def collect(body: bytes, series: Series, trusting: bool = True) -> Collected:
    """Return the rows of a request; raise Malformed where it is none.

    `trusting` takes what follows the labels of a known series for a sample of a usual shape, to be checked when it is
    read; without it every series is looked at.
    """
    rows = Collected()
    numbers, ends = rows.numbers, rows.ends
    get = series.table.numbers.get if trusting else _nobody
    at, size = 0, len(body)
    try:
        while at < size:
            low = body[at + 1]
            if body[at] != TIMESERIES or (low > 127 and body[at + 2] > 127):
                at = _other_field(body, at, series, rows)
                continue
            start, at = (at + 2, at + 2 + low) if low < 128 else (at + 3, at + low - 125 + (body[at + 2] << 7))
            if at >= FULL_BYTES:
                number = get(body[start : at - (ZERO_BYTES if body[at - 8] == ZERO_MARK else FULL_BYTES)])
                if number is not None:
                    numbers.append(number)
                    ends.append(at)
                    continue
            _look_at(body, start, at, series, rows)
    except IndexError:
        at = size + 1
    if at > size:
        raise Malformed("protobuf: a field is cut off")
    return rows


def _nobody(key: bytes) -> None:
    """Know no series."""


def _other_field(body: bytes, at: int, series: Series, rows: Collected) -> int:
    """Take the field at `at`, whatever it is; return where it ends."""
    for key, a, b in fields(body, at):
        if key == TIMESERIES:
            _look_at(body, a, b, series, rows)
        elif key in _OF_VERSION_2:
            raise Malformed("remote-write: holds fields of 1.0 and of 2.0")
        return b
    return len(body)


def _look_at(body: bytes, start: int, end: int, series: Series, rows: Collected) -> None:
    """Add the rows of one series, after a look at each of its fields."""
    if end > len(body):
        raise Malformed("protobuf: a field is cut off")
    if len(rows.numbers) > MAX_ROWS:
        raise Malformed(TOO_MANY)
    middle = _end_of_labels(body, start, end)
    if middle == start or not SHAPE.fullmatch(body, middle, end):
        _add_odd(body, start, end, series, rows)
        return
    key = body[start:middle]
    rows.numbers.append(series.number(key, partial(_pairs, key)))
    rows.ends.append(end)


def _end_of_labels(body: bytes, start: int, end: int) -> int:
    """Return where the labels end with which a series begins."""
    at = start
    while at < end and body[at] == _LABEL:
        at = length(body, at + 1, end)[1]
    return at


def _add_odd(body: bytes, start: int, end: int, series: Series, rows: Collected) -> None:
    """Add the rows of a series that is none, or many, or of a native histogram, or has its fields in another order."""
    parts = list(fields(body, start, end))
    labels = b"".join(_LABEL_TAG + written(b - a) + body[a:b] for key, a, b in parts if key == _LABEL)
    pairs = partial(_pairs, labels)
    for key, a, b in parts:
        if key == _SAMPLE:
            rows.add(series.number(labels or _NO_LABELS, pairs), sample_of(body, a, b))
    for key, a, b in parts:
        if key == _HISTOGRAM:
            rows.add_histogram(series, labels or _NO_LABELS, pairs, body, a, b)


def _pairs(labels: bytes) -> Pairs:
    """Return names and values of labels as they lie in a series."""
    pairs: list[tuple[bytes, bytes]] = []
    for _, start, end in fields(labels):
        name = value = b""
        for key, a, b in fields(labels, start, end):
            if key == _NAME:
                name = labels[a:b]
            elif key == _TEXT:
                value = labels[a:b]
        pairs.append((name, value))
    return pairs
