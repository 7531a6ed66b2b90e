"""Undoes gzip within a limit."""

from __future__ import annotations

import zlib
from typing import Final

from engine.errors import DataError

MAGIC: Final = b"\x1f\x8b"


def gunzipped(body: bytes, max_bytes: int) -> bytes:
    """Return what a gzip file of one or more members holds; raise DataError when it is damaged or holds more."""
    parts: list[bytes] = []
    left = max_bytes
    while body.startswith(MAGIC):
        inflate = zlib.decompressobj(wbits=31)
        try:
            parts.append(inflate.decompress(body, left + 1))
        except zlib.error as error:
            raise DataError("gzip is damaged") from error
        left -= len(parts[-1])
        if left < 0:
            raise DataError(f"holds more than {max_bytes:,} bytes")
        if not inflate.eof:
            raise DataError("gzip is cut off")
        body = inflate.unused_data
    return b"".join(parts)
