"""Prometheus remote-write, 1.0 and 2.0: protobuf in a snappy block, or as it is; told apart by their fields.

What becomes of what a request holds:

- a sample is a row; NaN and infinities are rows whose value is NaN, as with the adapter; a stale marker is dropped
- a native histogram is two rows, the counters `_count` and `_sum`, under the names that a classic one has; its buckets
  are left out, and so are exemplars and metadata (2.0's type decides whether a series is a counter)
- a series without a name, with a label twice, out of order, without a name or not in UTF-8 is refused, and only it
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from engine.hash_numbers import UNKNOWN
from engine.numbered import Rows
from engine.ports import Decoded
from engine.schemas import Kind
from engine.types import Ints
from ingest import remote_write_tails, remote_write_tiles, remote_write_v1, remote_write_v2
from ingest.identity import Identity
from ingest.metric_labels import MetricLabels
from ingest.numbered_rows import together, with_offsets
from ingest.protobuf import Malformed, fields
from ingest.refused import Refused
from ingest.remote_write import MAX_ROWS, STALE_BITS, TOO_MANY, Collected, Series, with_odd
from ingest.remote_write_v2 import Texts, Unusual
from ingest.scrub import Scrubber
from ingest.snappy import unpacked

_AT_ONCE_BYTES: Final = 8 << 20

STALE: Final = "stale marker"

_VERSION_1: Final = (remote_write_v1.TIMESERIES, remote_write_v1.METADATA)
_VERSION_2: Final = (remote_write_v2.SYMBOLS, remote_write_v2.TIMESERIES)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of messages, as arrays: position of the message, number of the series, time, bits of the value."""

    at: Ints
    numbers: Ints
    ts_ms: Ints
    bits: NDArray[np.uint64]

    @classmethod
    def joined(cls, parts: Sequence[_Rows]) -> _Rows:
        """Return the rows of all parts."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            none = np.empty(0, np.int64)
            return cls(none, none, none, none.view(np.uint64))
        names = ("at", "numbers", "ts_ms", "bits")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def where(self, these: NDArray[np.bool_]) -> _Rows:
        """Return some of the rows."""
        return _Rows(self.at[these], self.numbers[these], self.ts_ms[these], self.bits[these])


class _Known:
    """What is remembered from request to request."""

    __slots__ = ("series", "texts")

    def __init__(self, labels: MetricLabels) -> None:
        self.series = Series(labels)
        self.texts = Texts()

    @property
    def full(self) -> bool:
        return self.series.table.full or self.texts.full

    def clear(self) -> None:
        self.series.table.clear()
        self.texts.clear()


@dataclass(frozen=True, slots=True)
class PrometheusRemoteWrite:
    """Decodes requests; label sets are looked at once each."""

    name: ClassVar[str] = "prometheus-remote-write"
    kind: ClassVar[Kind] = "metrics"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)
    _known: list[_Known] = field(default_factory=list, compare=False, repr=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row a sample and two a native histogram; a dead letter for each message or series that is none."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        known = self._memory()
        dropped: Counter[str] = Counter()
        frames: list[Rows] = []
        parts: list[_Rows] = []
        for positions, requests in _lots(bodies, refused):
            quick, left = _at_once(positions, requests, known)
            parts.append(quick)
            for one in left:
                if known.full:
                    frames.append(_frame(parts, known, refused, dropped))
                    parts = []
                    known.clear()
                try:
                    parts.append(_rows(positions[one], requests[one], known))
                except Malformed as error:
                    refused.add(positions[one], str(error))
        frames.append(_frame(parts, known, refused, dropped))
        return Decoded(with_offsets(together(frames), offsets), refused.letters(), dropped)

    def _memory(self) -> _Known:
        if not self._known:
            self._known.append(_Known(MetricLabels(self.identity, self.scrubber)))
        return self._known[0]


def _lots(bodies: Sequence[bytes], refused: Refused) -> Iterator[tuple[list[int], list[bytes]]]:
    """Yield requests and the positions of their messages, a bounded number of bytes at a time."""
    positions: list[int] = []
    requests: list[bytes] = []
    size = 0
    for position, body in enumerate(bodies):
        try:
            requests.append(_request(body))
        except Malformed as error:
            refused.add(position, str(error))
            continue
        positions.append(position)
        size += len(requests[-1])
        if size > _AT_ONCE_BYTES:
            yield positions, requests
            positions, requests, size = [], [], 0
    if requests:
        yield positions, requests


def _at_once(positions: Sequence[int], requests: Sequence[bytes], known: _Known) -> tuple[_Rows, list[int]]:
    """Return the rows of those requests that hold nothing but known series, one sample each; and which ones do not."""
    data = b"".join(requests)
    bounds = np.cumsum([0, *map(len, requests)])
    tiles, whole = remote_write_tiles.tiles_of(data, bounds)
    ts_ms, bits, shaped = remote_write_tails.read_each(data, tiles.end)
    keys = [data[a:b] for a, b in zip(tiles.label.tolist(), tiles.sample.tolist(), strict=True)]
    numbers = known.series.table.find(keys)
    whole[tiles.request[~shaped | (numbers == UNKNOWN)]] = False
    whole &= np.bincount(tiles.request, minlength=len(whole)) <= MAX_ROWS
    at, mine = np.array(positions, np.int64)[tiles.request], whole[tiles.request]
    rows = _Rows(at, numbers, ts_ms, bits)
    return rows if mine.all() else rows.where(mine), np.flatnonzero(~whole).tolist()


def _rows(position: int, request: bytes, known: _Known) -> _Rows:
    """Return the rows of one message; raise Malformed where it is none."""
    collected, ends = _collected(request, known, trusting=True)
    samples = None if ends is None else remote_write_tails.read(request, ends)
    if samples is None:
        collected, ends = _collected(request, known, trusting=False)
        samples = None if ends is None else remote_write_tails.read(request, ends)
    if samples is None:
        raise Malformed("remote-write: a sample cannot be read")
    if len(collected.numbers) > MAX_ROWS:
        raise Malformed(TOO_MANY)
    ts_ms, bits = with_odd(collected, *samples)
    return _Rows(np.full(len(ts_ms), position), np.array(collected.numbers, np.int64), ts_ms, bits)


def _request(body: bytes) -> bytes:
    """Return the protobuf message in a body, which is a snappy block, or that message itself."""
    if not body:
        raise Malformed("empty message")
    try:
        return unpacked(body)
    except Malformed:
        if body[0] in _VERSION_1 + _VERSION_2:
            return body
        raise


def _collected(request: bytes, known: _Known, *, trusting: bool) -> tuple[Collected, Ints | None]:
    """Return the rows, and where the samples end that are of a usual shape; None if they turn out to be of another."""
    try:
        if _is_version_2(request):
            rows = remote_write_v2.collect(request, known.series, known.texts, trusting)
        else:
            rows = remote_write_v1.collect(request, known.series, trusting)
    except Unusual:
        return Collected(), None
    ends = np.array(rows.ends, np.int64)
    return rows, ends[ends > 0] if rows.odd else ends


def _is_version_2(request: bytes) -> bool:
    """Return whether a request is of 2.0; raise Malformed if it is of neither version."""
    for key, _, _ in fields(request):
        if key in _VERSION_1 or key in _VERSION_2:
            return key in _VERSION_2
    if request:
        raise Malformed("remote-write: neither a request of 1.0 nor of 2.0")
    return False


def _frame(parts: Sequence[_Rows], known: _Known, refused: Refused, dropped: Counter[str]) -> Rows:
    """Return rows, with positions as offsets, without those that are dropped or refused."""
    rows = _Rows.joined(parts)
    stale = rows.bits == np.uint64(STALE_BITS)
    if stale.any():
        dropped[STALE] += int(stale.sum())
        rows = rows.where(~stale)
    return known.series.table.sane(rows.numbers, rows.at, rows.ts_ms, rows.bits.view(np.float64), refused)
