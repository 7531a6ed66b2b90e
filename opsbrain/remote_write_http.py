"""Prometheus remote-write as HTTP: which of its two messages a request bears, and what 2.0 wants to hear back.

Bodies stay snappy blocks as they came. Sources: https://prometheus.io/docs/specs/remote_write_spec and .../_2_0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from engine.errors import DataError
from ingest.protobuf import Malformed, fields, length_key
from opsbrain.keep import TooLarge
from opsbrain.receive_body import UnknownEncoding

PROTO_1: Final = "prometheus.WriteRequest"
PROTO_2: Final = "io.prometheus.write.v2.Request"

_SERIES_2: Final = length_key(5)
_COUNTED_2: Final = {length_key(2): "Samples", length_key(3): "Histograms", length_key(4): "Exemplars"}


def message_of(headers: Mapping[str, str]) -> str:
    """Return which message a request says that it bears; raise UnknownEncoding for one that we do not know."""
    media, _, rest = headers.get("content-type", "application/x-protobuf").partition(";")
    if media.strip().lower() != "application/x-protobuf":
        raise UnknownEncoding(f"Content-Type {media[:40]!r}: send application/x-protobuf")
    if headers.get("content-encoding", "snappy").strip().lower() != "snappy":
        raise UnknownEncoding("Content-Encoding: remote-write is compressed by snappy (block format)")
    parameters = dict(_parameter(one) for one in rest.split(";"))
    proto = parameters.get("proto", PROTO_1)
    if proto not in (PROTO_1, PROTO_2):
        raise UnknownEncoding(f"proto={proto[:60]}: known are {PROTO_1} and {PROTO_2}")
    return proto


def undone(block: bytes, max_bytes: int, take: Callable[[int], None]) -> bytes:
    """Return what a snappy block holds; raise TooLarge, or DataError when it is damaged. `take` hears of its size."""
    import cramjam

    try:
        size = cramjam.snappy.decompress_raw_len(block)
        if size > max_bytes:
            raise TooLarge(f"the body is larger than {max_bytes:,} bytes when decompressed (http.max_body_mb)")
        take(size)
        return bytes(cramjam.snappy.decompress_raw(block))
    except cramjam.DecompressionError as error:
        raise DataError("the body is not a snappy block, or damaged") from error


def written(message: bytes) -> dict[str, str]:
    """Return the headers that tell a sender of 2.0 what was taken; raise DataError when `message` is no protobuf."""
    counts = Counter(dict.fromkeys(_COUNTED_2.values(), 0))
    try:
        for key, start, end in fields(message):
            if key == _SERIES_2:
                counts.update(_COUNTED_2[inner] for inner, _, _ in fields(message, start, end) if inner in _COUNTED_2)
    except Malformed as error:
        raise DataError(f"the body is no {PROTO_2}: {error}") from error
    return {f"x-prometheus-remote-write-{name.lower()}-written": str(count) for name, count in counts.items()}


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), value.strip().strip('"')
