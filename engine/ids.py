"""Identifiers made of content: the same thing gets the same id, whoever sees it first."""

from __future__ import annotations

import hashlib
from zlib import crc32

import msgspec

_ENCODER = msgspec.json.Encoder(order="deterministic")


def content_id(prefix: str, *parts: object) -> str:
    """Return `prefix-` and 16 hex digits of SHA-256 over the canonical JSON of `parts`.

    >>> content_id("anm", "demo/service/shop/payments", 60_000)
    'anm-c4d4a7d0f1a6d2a5'
    """
    return f"{prefix}-{hashlib.sha256(_ENCODER.encode(parts)).hexdigest()[:16]}"


def shard_of(entity: str, shards: int) -> int:
    """Return the logical shard of an entity: CRC-32 of its name, the same in every process and on every machine."""
    return crc32(entity.encode()) % shards


def scope_of(entity: str) -> str:
    """Return the scope (cluster or tenant), the first part of an entity's id."""
    return entity.partition("/")[0]
