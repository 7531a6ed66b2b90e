"""Recognises what a sender of OTLP metrics says again, byte for byte but for its times and values.

Between two exports of one resource nothing else changes as long as it has the same series, since times and values have
a fixed size. So its layout is learned: which bytes are free to change, and the rows that the others
stand for. From then on a resource costs one comparison, and its numbers are read where they were before. What does not
fit is read field by field.

Memory: some 250 bytes a point, `MAX_BYTES` in all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128_digest

from engine.types import Ints
from ingest.otlp_points import Points
from ingest.otlp_requests import FIRST, SECOND, Bounds
from ingest.protobuf import fields, fixed64_key, length, length_key

MAX_BYTES: Final = 320 * 1024 * 1024
MAX_SEEN: Final = 100_000

MIN_BYTES: Final = 512
"""Of less than that, reading is as quick."""

_MANY: Final = 2  # resources that are worth putting together

Free = Mapping[int, "Free"]
"""By key the fields of a message of which the content may change, or some of it."""

_ANYTHING: Final[Free] = {}
_USUAL: Final[dict[int, Free]] = {fixed64_key(number): _ANYTHING for number in (2, 3, 4, 5)}
_NUMBER_POINT: Final[Free] = {
    **{fixed64_key(number): _ANYTHING for number in (2, 3, 4, 6)},
    length_key(5): _ANYTHING,  # exemplars
}
_HISTOGRAM_POINT: Final[Free] = _USUAL | {
    **{fixed64_key(number): _ANYTHING for number in (6, 11, 12)},
    length_key(6): _ANYTHING,  # buckets
    length_key(8): _ANYTHING,  # exemplars
}
_EXPONENTIAL_POINT: Final[Free] = _USUAL | {
    **{fixed64_key(number): _ANYTHING for number in (7, 12, 13)},
    **{length_key(number): _ANYTHING for number in (8, 9, 11)},  # buckets and exemplars
}
_SUMMARY_POINT: Final[Free] = _USUAL | {length_key(6): {fixed64_key(2): _ANYTHING}}
_METRIC: Final[Free] = {
    length_key(5): {FIRST: _NUMBER_POINT},
    length_key(7): {FIRST: _NUMBER_POINT},
    length_key(9): {FIRST: _HISTOGRAM_POINT},
    length_key(10): {FIRST: _EXPONENTIAL_POINT},
    length_key(11): {FIRST: _SUMMARY_POINT},
}
_RESOURCE: Final[Free] = {SECOND: {SECOND: _METRIC}}


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a resource's bytes have to be where `fixed`, and the rows that they stand for; places from its start."""

    fixed: NDArray[np.uint8]  # 255, or 0 where free
    content: bytes
    numbers: Ints
    times: Ints
    codes: Ints


@dataclass(slots=True)
class Layouts:
    """Remembers layouts by the resource and the length of its message; the last one of each."""

    _known: dict[bytes, _Layout] = field(default_factory=dict)
    _seen: dict[bytes, int] = field(default_factory=dict)
    _bytes: int = 0

    def clear(self) -> None:
        """Forget everything; necessary where the numbers of series are forgotten."""
        self._known.clear()
        self._seen.clear()
        self._bytes = 0

    def read_all(self, points: Points, resources: Sequence[Bounds]) -> bool:
        """Add the rows of a request of which all resources have known layouts; return False, having added none, else.

        One comparison for all: of a request with many small resources it costs a fraction of one each.
        """
        layouts = [self._known.get(_key(points.data, start, end)) for start, end in resources]
        known = [layout for layout in layouts if layout is not None]
        if len(known) < len(layouts) or len(known) < _MANY:
            return False
        raw = np.frombuffer(points.data, np.uint8)
        came = np.concatenate([raw[start:end] for start, end in resources])
        came &= np.concatenate([layout.fixed for layout in known])
        if came.tobytes() != b"".join([layout.content for layout in known]):
            return False
        starts = np.repeat([start for start, _ in resources], [len(layout.numbers) for layout in known])
        times = np.concatenate([layout.times for layout in known])
        codes = np.concatenate([layout.codes for layout in known])
        points.add_many(
            np.concatenate([layout.numbers for layout in known]), _moved(times, starts), _moved(codes, starts << 3)
        )
        return True

    def read(self, points: Points, start: int, end: int) -> bytes | None:
        """Add the rows of a resource whose layout is known and return None; else return by what to `learn` it."""
        key = _key(points.data, start, end)
        layout = self._known.get(key)
        if layout is None:
            return key
        came = np.frombuffer(points.data, np.uint8, end - start, start)
        if (came & layout.fixed).tobytes() != layout.content:
            return key
        points.add_many(layout.numbers, _moved(layout.times, start), _moved(layout.codes, start << 3))
        return None

    def learn(self, key: bytes, points: Points, start: int, end: int, first: int, is_new: bool) -> None:
        """Remember a resource that was read, where it is likely to come again; its rows are those from `first` on.

        That is the 2nd, 4th, 8th ... time: what never fits (deltas of what happens to be busy) is seldom learned in
        vain. With new series, which cost far more, it is also the first time.
        """
        if len(self._seen) > MAX_SEEN or self._bytes > MAX_BYTES:
            self.clear()
        seen = self._seen[key] = self._seen.get(key, 0) + 1
        if seen & (seen - 1) or (seen == 1 and not is_new):
            return
        fixed = np.full(end - start, 255, np.uint8)
        for a, b in _free(points.data, start, end, _RESOURCE):
            fixed[a - start : b - start] = 0
        content = (np.frombuffer(points.data, np.uint8, end - start, start) & fixed).tobytes()
        times, codes = np.asarray(points.times)[first:], np.asarray(points.codes)[first:]
        self._known[key] = _Layout(
            fixed, content, np.asarray(points.numbers)[first:].copy(), _moved(times, -start), _moved(codes, -start << 3)
        )
        self._bytes += 2 * (end - start) + 24 * len(times)


def _key(data: bytes, start: int, end: int) -> bytes:
    """Return the resource and the length of its message; nothing where the resource does not come first."""
    if end - start < MIN_BYTES or data[start] != FIRST:
        return b""
    _, behind = length(data, start + 1, end)
    return xxh3_128_digest(b"%d:%b" % (end - start, data[start:behind]))


def _free(data: bytes, start: int, end: int, free: Free) -> Iterator[Bounds]:
    for key, a, b in fields(data, start, end):
        inside = free.get(key)
        if inside is _ANYTHING:
            yield a, b
        elif inside is not None:
            yield from _free(data, a, b, inside)


def _moved(places: Ints, by: Ints | int) -> Ints:
    """Return places further on; those that are NOWHERE stay there."""
    moved = places + by
    return np.where(places < 0, places, moved) if len(places) and places.min() < 0 else moved
