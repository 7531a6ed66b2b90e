"""The body of a request: within limits of size, time and memory, and as it was before its Content-Encoding."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from engine.errors import DataError, Retryable
from ingest.gunzip import inflated
from opsbrain.keep import TooLarge, Unavailable

BUSY_S: Final = 1.0  # bodies in memory are gone as soon as the disk or the broker has them
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"


class UnknownEncoding(DataError):
    """A body is compressed in a way that we do not undo, or of a type that the endpoint does not take."""


class TooSlow(Unavailable):
    """A body took longer to come than is waited for."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How large a body may be, before and after decompression, and how long it may take to come."""

    max_bytes: int
    timeout_s: float


class Budget:
    """Bounds how many bytes of bodies are in memory at once. Thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._taken = 0

    @property
    def max_bytes(self) -> int:
        """Return how much there is."""
        return self._max_bytes

    @property
    def taken_bytes(self) -> int:
        """Return how much is taken now."""
        return self._taken

    @contextmanager
    def holding(self) -> Iterator[Held]:
        """Yield what one request holds; given back at the end."""
        held = Held(self)
        try:
            yield held
        finally:
            self._give(held.bytes)

    def _take(self, size: int) -> None:
        with self._lock:
            if self._taken + size > self._max_bytes:
                raise Retryable(f"too much comes at once: {self._taken:,} bytes are being taken in", BUSY_S)
            self._taken += size

    def _give(self, size: int) -> None:
        with self._lock:
            self._taken -= size


class Held:
    """What one request holds of a budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.bytes = 0

    def take(self, size: int) -> None:
        """Hold `size` more bytes; raise Retryable when that is more than there is."""
        self._budget._take(size)
        self.bytes += size


async def read_body(stream: AsyncIterator[bytes], headers: Mapping[str, str], limits: BodyLimits, held: Held) -> bytes:
    """Return the whole body as it was sent.

    Raises TooLarge, TooSlow, or Retryable when there is no room in memory for it now.
    """
    told = headers.get("content-length", "")
    size = int(told) if told.isdigit() else 0
    if size > limits.max_bytes:
        raise TooLarge(f"the body is larger than {limits.max_bytes:,} bytes (http.max_body_mb)")
    held.take(size)
    try:
        async with asyncio.timeout(limits.timeout_s):
            return await _joined(stream, size, limits, held)
    except TimeoutError as error:
        raise TooSlow(f"the body was not whole after {limits.timeout_s:g} s", BUSY_S) from error


async def _joined(stream: AsyncIterator[bytes], told: int, limits: BodyLimits, held: Held) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in stream:
        size += len(part)
        if size > limits.max_bytes:
            raise TooLarge(f"the body is larger than {limits.max_bytes:,} bytes (http.max_body_mb)")
        if size > told:
            held.take(len(part))
        parts.append(part)
    return b"".join(parts)


def decompressed(body: bytes, encoding: str, max_bytes: int, take: Callable[[int], None] = lambda size: None) -> bytes:
    """Return a body as it was before its Content-Encoding; `take` is told of what is made, a megabyte at a time.

    Raises TooLarge, UnknownEncoding, or DataError when it cannot be undone.
    """
    if encoding in ("", "identity"):
        return body
    if encoding in ("gzip", "x-gzip"):
        return _inflated(body, "gzip", max_bytes, take)
    if encoding in ("deflate", "zlib"):
        return _inflated(body, "deflate", max_bytes, take)
    if encoding == "zstd":
        return _unzstd(body, max_bytes, take)
    raise UnknownEncoding(f"Content-Encoding {encoding[:40]!r} is not understood; send gzip, deflate, zstd or none")


def _inflated(body: bytes, name: str, max_bytes: int, take: Callable[[int], None]) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in inflated([body], name) if body else ():
        size += len(part)
        _check_size(size, max_bytes)
        take(len(part))
        parts.append(part)
    return b"".join(parts)


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise TooLarge(f"the body is larger than {max_bytes:,} bytes when decompressed (http.max_body_mb)")


def _unzstd(body: bytes, max_bytes: int, take: Callable[[int], None]) -> bytes:
    """Undo zstd into a buffer of the size that its frame tells, or of the largest that we take."""
    import cramjam

    if not body.startswith(_ZSTD_MAGIC):
        raise DataError("the body is not zstd, or damaged")
    told = zstd_size(body)
    if told is not None:
        _check_size(told, max_bytes)
    room = max_bytes if told is None else told
    take(room)
    out = bytearray(room)
    try:
        size = cramjam.zstd.decompress_into(body, out)
    except cramjam.DecompressionError as error:
        if "whole buffer" in str(error):
            raise TooLarge(f"the body is larger than {room:,} bytes when decompressed (http.max_body_mb)") from error
        raise DataError("the body is not zstd, or damaged") from error
    return bytes(memoryview(out)[:size])


def zstd_size(body: bytes) -> int | None:
    """Return the size that the first frame tells of its content, or None where it tells none or is cut off (RFC 8878).

    A body of several frames is larger; it then does not fit where it is undone, and is refused.
    """
    if len(body) < 5:
        return None
    descriptor = body[4]
    single = bool(descriptor & 0x20)
    width = {0: 1 if single else 0, 1: 2, 2: 4, 3: 8}[descriptor >> 6]
    at = 5 + (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3]
    if not width or len(body) < at + width:
        return None
    return int.from_bytes(body[at : at + width], "little") + (256 if width == 2 else 0)
