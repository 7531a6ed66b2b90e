"""The same fleet in formats that carry many samples a message: Prometheus remote-write 1.0 and OTLP metrics, protobuf.

A request always holds the same series in the same order, as a shipper's queue sends them; only times and values change.
So each is laid out once, and a scrape writes its numbers into it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.load import POD_SERIES, Fleet, namespace, service
from engine.types import Ints

IN_REQUEST: Final = 2_000  # samples: what Prometheus sends at most, by default (max_samples_per_send)
_MARK: Final = struct.pack("<d", 7.0625e77)  # stands where a value goes while a request is laid out
_TIME: Final = (
    b"\x81\x82\x83\x84\x85\x07"  # and where remote-write's time goes: six bytes, as today's milliseconds take
)
_TIME_NS: Final = struct.pack("<Q", 0x7A7B7C7D7E7F7071)


@dataclass(frozen=True, slots=True)
class Request:
    """One request: its partition, the rows of a scrape that it holds, its bytes, and where numbers go in them."""

    partition: int
    rows: slice
    layout: NDArray[np.uint8]
    values_at: Ints
    times_at: Ints
    time_bytes: int

    def body(self, times: NDArray[np.uint8], values: NDArray[np.uint8]) -> bytes:
        """Return the request with the times (N, `time_bytes`) and values (N, 8) of its rows."""
        made = self.layout.copy()
        made[self.times_at[:, None] + np.arange(self.time_bytes)] = times[self.rows]
        made[self.values_at[:, None] + np.arange(8)] = values[self.rows]
        return made.tobytes()


class RemoteWrite:
    """Requests of remote-write 1.0: snappy, one sample a series."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._requests = _requests(fleet, lambda rows: _write_request(fleet, rows), _TIME)

    def scrape(self, number: int) -> Iterator[tuple[int, bytes, int]]:
        """Yield (partition, body, samples) of one scrape."""
        import cramjam

        values, times = _eight(self._fleet.values(number)), _varints(self._fleet.time_ms(number))
        for one in self._requests:
            compressed = bytes(cramjam.snappy.compress_raw(one.body(times, values)))
            yield one.partition, compressed, one.rows.stop - one.rows.start


class OtlpMetrics:
    """OTLP requests as a collector batches them: a resource a pod, gauges and cumulative sums with their points."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        # a collector batches whole resources, and no series of a pod goes elsewhere than the others
        self._order = np.lexsort((fleet.numbers, fleet.offsets_s))
        self._requests = _requests(fleet, lambda rows: _otlp_request(fleet, self._order[rows]), _TIME_NS)

    def scrape(self, number: int) -> Iterator[tuple[int, bytes, int]]:
        """Yield (partition, body, points) of one scrape."""
        values = _eight(self._fleet.values(number)[self._order])
        times = _eight(self._fleet.time_ms(number)[self._order] * 1_000_000)
        for one in self._requests:
            yield one.partition, one.body(times, values), one.rows.stop - one.rows.start


def _requests(fleet: Fleet, lay_out: Callable[[range], bytes], time: bytes) -> list[Request]:
    found = []
    for begin in range(0, fleet.series, IN_REQUEST):
        rows = range(begin, min(begin + IN_REQUEST, fleet.series))
        body = lay_out(rows)
        number = begin // IN_REQUEST
        found.append(
            Request(
                partition=number % fleet.partitions,
                rows=slice(rows.start, rows.stop),
                layout=np.frombuffer(body, np.uint8),
                values_at=_places(body, _MARK, len(rows)),
                times_at=_places(body, time, len(rows)),
                time_bytes=len(time),
            )
        )
    return found


def _places(body: bytes, mark: bytes, wanted: int) -> Ints:
    found, at = [], body.find(mark)
    while at >= 0:
        found.append(at)
        at = body.find(mark, at + 1)
    if len(found) != wanted:
        raise ValueError(f"{len(found)} places for {wanted} numbers")
    return np.array(found, np.int64)


def _write_request(fleet: Fleet, rows: range) -> bytes:
    return b"".join(_field(1, _time_series(fleet.labels(int(fleet.numbers[row])))) for row in rows)


def _time_series(labels: dict[str, str]) -> bytes:
    pairs = (_field(1, _field(1, name.encode()) + _field(2, text.encode())) for name, text in sorted(labels.items()))
    return b"".join(pairs) + _field(2, b"\x09" + _MARK + b"\x10" + _TIME)


def _otlp_request(fleet: Fleet, rows: Ints) -> bytes:
    """Return a request in which the points of a metric of a pod stand together, in the order of the rows."""
    numbers = [int(fleet.numbers[row]) for row in rows]
    return b"".join(
        _field(1, _resource(pod) + _field(2, _scope(fleet, list(of_pod))))
        for pod, of_pod in groupby(numbers, key=lambda number: number // POD_SERIES)
    )


def _resource(pod: int) -> bytes:
    name = service(pod)
    attributes = {
        "service.name": name,
        "service.namespace": namespace(pod),
        "k8s.namespace.name": namespace(pod),
        "k8s.deployment.name": name,
        "k8s.pod.name": f"{name}-5d9c5b8f4d-{pod % 100_000:05}",
        "service.instance.id": f"5ad1a0be-6c2e-4f6c-9d1e-{pod:012}",
    }
    return _field(1, b"".join(_field(1, _attribute(*one)) for one in attributes.items()))


def _scope(fleet: Fleet, numbers: Sequence[int]) -> bytes:
    by_name = groupby(((fleet.labels(number), number) for number in numbers), key=lambda one: one[0]["__name__"])
    return _field(1, _field(1, b"io.opentelemetry.runtime")) + b"".join(
        _field(2, _metric(name, [labels for labels, _ in points], name.endswith(("_total", "_sum", "_count"))))
        for name, points in by_name
    )


def _metric(name: str, points: Sequence[dict[str, str]], counter: bool) -> bytes:
    data = b"".join(_field(1, _point(labels)) for labels in points)
    if counter:
        return _field(1, name.encode()) + _field(7, data + b"\x10\x02\x18\x01")  # sum, cumulative, monotonic
    return _field(1, name.encode()) + _field(5, data)


def _point(labels: dict[str, str]) -> bytes:
    known = ("__name__", "instance", "job", "namespace", "pod")  # the resource says them
    own = ((key, text) for key, text in labels.items() if key not in known)
    return b"\x19" + _TIME_NS + b"\x21" + _MARK + b"".join(_field(7, _attribute(*one)) for one in own)


def _attribute(key: str, text: str) -> bytes:
    return _field(1, key.encode()) + _field(2, _field(1, text.encode()))


def _field(number: int, content: bytes) -> bytes:
    """Return a length-delimited protobuf field."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def _varints(numbers: Ints) -> NDArray[np.uint8]:
    """Return (N, 6) the numbers as varints, which take six bytes each (2^35 to 2^42: milliseconds until 2109)."""
    digits = (numbers[:, None] >> (7 * np.arange(6))) & 0x7F
    digits[:, :5] |= 0x80
    return digits.astype(np.uint8)


def _eight(numbers: NDArray[np.float64] | Ints) -> NDArray[np.uint8]:
    return np.ascontiguousarray(numbers).view(np.uint8).reshape(-1, 8)
