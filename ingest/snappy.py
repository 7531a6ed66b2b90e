"""Undoes snappy's block format, with a bound on what may come out.

Source: https://github.com/google/snappy/blob/main/format_description.txt. A block begins with its uncompressed length.
"""

from __future__ import annotations

from typing import Final

from cramjam import DecompressionError, snappy

from ingest.protobuf import Malformed, varint

MAX_BYTES: Final = 64 * 1024 * 1024
"""What a block may hold: a hundred times what Prometheus sends at once."""

_MAX_RATIO: Final = 22  # three bytes stand for 64 at most


def unpacked(block: bytes, max_bytes: int = MAX_BYTES) -> bytes:
    """Return what a block holds; raise Malformed when it is none, or holds more than `max_bytes`."""
    size, _ = varint(block, 0, len(block))
    if size > max_bytes:
        raise Malformed(f"snappy: holds more than {max_bytes:,} bytes")
    if size > _MAX_RATIO * len(block):
        raise Malformed("snappy: damaged")
    try:
        return bytes(snappy.decompress_raw(block))
    except DecompressionError:
        raise Malformed("snappy: damaged") from None
