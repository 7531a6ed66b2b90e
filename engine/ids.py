"""Identifiers made of content: the same thing gets the same id, whoever sees it first."""

from __future__ import annotations

import hashlib
from zlib import crc32

import msgspec
import xxhash

_ENCODER = msgspec.json.Encoder(order="deterministic")


def content_id(prefix: str, *parts: object) -> str:
    """Return `prefix-` and 16 hex digits of SHA-256 over the canonical JSON of `parts`.

    >>> content_id("anm", "demo/service/shop/payments", 60_000)
    'anm-c4d4a7d0f1a6d2a5'
    """
    return f"{prefix}-{hashlib.sha256(_ENCODER.encode(parts)).hexdigest()[:16]}"


def identity_of(*parts: str) -> int:
    """Return 64 bits that stand for `parts`, never 0 (which says: has no identity).

    Two of ten million different rows of one window are taken for one with a probability of 3 in a million.

    >>> identity_of("u-1", "5") == identity_of("u-1", "5") != identity_of("u-15")
    True
    """
    return xxhash.xxh3_64_intdigest("\x1f".join(parts).encode("utf-8", "surrogatepass")) or 1


def shard_of(entity: str, shards: int) -> int:
    """Return the logical shard of an entity: CRC-32 of its name, the same in every process and on every machine."""
    return crc32(entity.encode()) % shards


def entity_part(text: str) -> str:
    """Return `text` fit to be one part of an entity's id: no slash, no space, nothing that a terminal would act on."""
    if not text.isprintable():
        text = "".join(one for one in text if one.isprintable() or one.isspace())
    return "_".join(text.replace("/", " ").split())[:253] or "-"


def scope_of(entity: str) -> str:
    """Return the scope (cluster or tenant), the first part of an entity's id."""
    return entity.partition("/")[0]
