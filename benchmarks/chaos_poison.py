"""Messages that nobody should send: what `bench chaos` puts between the good ones, from a seed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

HUGE_BYTES: Final = 2_000_000
LARGEST_BYTES: Final = 4_000_000  # what the telemetry topics of this benchmark take
_DEEP: Final = 100_000


def poison(random: Random) -> bytes | None:
    """Return one body: no JSON, no text, no end, of the wrong types, without a value, out of its time, or huge."""
    return random.choice(_KINDS)(random)


def _noise(random: Random) -> bytes:
    return random.randbytes(random.randrange(1, 2_000))


def _huge(random: Random) -> bytes:
    return b'{"log":"' + b"x" * (HUGE_BYTES + random.randrange(1_000)) + b'"'


def _huge_and_well_formed(random: Random) -> bytes:
    return b'{"@timestamp":"never","timestamp":[],"log":"' + b"y" * (HUGE_BYTES + random.randrange(1_000)) + b'"}'


def _deep(random: Random) -> bytes:
    return random.choice((b"[", b'{"a":')) * _DEEP


_WRONG_TYPES: Final = (
    b'{"@timestamp":{},"log":7,"kubernetes":[]}',
    b'{"timestamp":1,"value":{},"name":[],"labels":"none"}',
    b'{"trace_id":1,"span_id":null,"start_time_unix_nano":"x","end_time_unix_nano":[],"resource":3}',
    b'{"metadata":[],"involvedObject":"pod","count":"many","lastTimestamp":true}',
    b'{"observed_at":{},"object":[1,2,3]}',
    b'{"timestamp":"2025-08-22T10:00:00Z","value":"1e999999","name":"","labels":{}}',
)
_MISPLACED: Final = (b"", b"null", b"true", b"[]", b"[1]", b"0", b'""', b"{}", b"{", b"\xff\xfe\x00", b"NaN", b"[null]")
_OUT_OF_TIME: Final = (
    b'{"@timestamp":1.0,"log":"INFO long ago","kubernetes":{"pod_name":"store-0","namespace_name":"shop"}}',
    b'{"@timestamp":9e15,"log":"INFO far ahead","kubernetes":{"pod_name":"store-0","namespace_name":"shop"}}',
    b'{"timestamp":"1970-01-01T00:00:01Z","value":"1","name":"up","labels":{"__name__":"up","service":"store"}}',
    b'{"timestamp":"9999-12-31T23:59:59Z","value":"1","name":"up","labels":{"__name__":"up","service":"store"}}',
)

_KINDS: Final[tuple[Callable[[Random], bytes | None], ...]] = (
    lambda random: None,  # a body that is no body: a tombstone
    lambda random: random.choice(_MISPLACED),
    lambda random: random.choice(_WRONG_TYPES),
    lambda random: random.choice(_OUT_OF_TIME),
    _noise,
    _noise,
    _deep,
    _huge,
    _huge_and_well_formed,
)
