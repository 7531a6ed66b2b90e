"""Undoes gzip as it comes, within limits of what it may cost."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from engine.errors import DataError

MAGIC: Final = b"\x1f\x8b"
STEP_BYTES: Final = 1 << 20
"""How much is made at a time."""

_WBITS: Final = {"gzip": 31, "deflate": 15}
_FEED_BYTES: Final = 1 << 13  # at each end of a member zlib copies what is left of what it was fed
_FEW_MEMBERS: Final = 4_096
_MEMBER_BYTES: Final = 64  # on average, of more than a few: one without content has 20, one with a line more than this


def gunzipped(body: bytes, max_bytes: int) -> bytes:
    """Return what a gzip file of one or more members holds; raise DataError when it is damaged or holds more."""
    parts: list[bytes] = []
    left = max_bytes
    for part in inflated([body]):
        left -= len(part)
        if left < 0:
            raise DataError(f"holds more than {max_bytes:,} bytes")
        parts.append(part)
    return b"".join(parts)


def inflated(parts: Iterable[bytes], name: str = "gzip") -> Iterator[bytes]:
    """Yield what `parts` hold together, one member or several, at most `STEP_BYTES` at a time.

    `name` is "gzip" or "deflate". Zeros behind a member are padding, as for gzip(1). Takes time in proportion to what
    comes and what is made, however the members lie. Raises DataError when it is damaged, cut off, or of so many tiny
    members that it can be nothing but a trap.
    """
    member = zlib.decompressobj(_WBITS[name])
    fed = members = 0
    for piece in _pieces(parts):
        left = piece
        fed += len(piece)
        while left := left.lstrip(b"\0") if member.eof else left:
            if member.eof:
                members += 1
                _check_members(members, fed, name)
                member = zlib.decompressobj(_WBITS[name])
            yield from _made(member, left, name)
            left = member.unused_data
    if not member.eof:
        raise DataError(f"{name} is cut off")


def _pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    for part in parts:
        for at in range(0, len(part), _FEED_BYTES):
            yield part[at : at + _FEED_BYTES]


def _made(member: zlib._Decompress, packed: bytes, name: str) -> Iterator[bytes]:
    """Yield what `packed` adds, in steps; a full one may leave more behind although no input is left."""
    full = False
    while packed or full:
        try:
            plain = member.decompress(packed, STEP_BYTES)
        except zlib.error as error:
            raise DataError(f"{name} is damaged, or none") from error
        if plain:
            yield plain
        packed, full = member.unconsumed_tail, len(plain) == STEP_BYTES


def _check_members(members: int, fed_bytes: int, name: str) -> None:
    if members > _FEW_MEMBERS + fed_bytes // _MEMBER_BYTES:
        raise DataError(f"{name} has {members:,} members in {fed_bytes:,} bytes, and so next to nothing in them")
