"""Recognises rows that were delivered before, as long as their window is open.

A row is itself by its `identity` and its time. Rows without an identity of their own get one from the request that they
came in: the hash of its whole body and their number in it. So a request that is sent again repeats, and two equal log
lines of one request do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl
import xxhash
from numpy.typing import NDArray

from engine.numbered import Numbered, Rows
from engine.types import Bools, Ints

Hashes = NDArray[np.uint64]

# Constants of SplitMix64 (G. Steele, D. Lea, C. Flood: Fast Splittable Pseudorandom Number Generators, 2014).
_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class Seen:
    """Remembers hashes, eight bytes each, and says which are new. Cost: one sort of what is asked and one copy."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: Hashes = np.empty(0, np.uint64)

    def __len__(self) -> int:
        return len(self._known)

    def holds(self, hashes: Hashes) -> Bools:
        """Return (N,) which hashes were seen."""
        return is_at(self._known, hashes, np.searchsorted(self._known, hashes))

    def first(self, hashes: Hashes) -> Bools:
        """Return (N,) True where a hash is seen for the first time, and remember all of them."""
        distinct, where = np.unique(hashes, return_index=True)
        places = np.searchsorted(self._known, distinct)
        new = ~is_at(self._known, distinct, places)
        self._known = np.insert(self._known, places[new], distinct[new])
        mask = np.zeros(len(hashes), np.bool_)
        mask[where[new]] = True
        return mask


def is_at(known: Hashes, wanted: Hashes, places: NDArray[np.int64]) -> Bools:
    """Return where `wanted` stands in sorted `known` at the `places` that `np.searchsorted` found."""
    if not len(known):
        return np.zeros(len(wanted), np.bool_)
    found: Bools = known[np.minimum(places, len(known) - 1)] == wanted
    return found


def row_hashes(rows: pl.DataFrame) -> Hashes:
    """Return what tells each row from others: its identity and its time."""
    return told_apart(rows["identity"].to_numpy(), rows["ts_ms"].to_numpy())


def told_apart(identity: Hashes, times_ms: Ints) -> Hashes:
    """Return what tells rows apart, given their identities and times."""
    return mixed(identity ^ mixed(times_ms.astype(np.uint64)))


def request_hash(body: bytes) -> int:
    """Return the hash of a whole request's body."""
    return xxhash.xxh3_64_intdigest(body) or 1


def identified_by_request(rows: Rows, offsets: Sequence[int], requests: Sequence[int]) -> Rows:
    """Return `rows` in which those without an identity have that of their request and their number in it.

    `requests` are the hashes of the messages at `offsets`; 0 where a message is no request.
    """
    if isinstance(rows, Numbered):
        return rows
    nameless = rows["identity"] == 0
    if not nameless.any() or not any(requests):
        return rows
    hashes = pl.DataFrame(
        {"offset": offsets, "_request": requests}, schema={"offset": pl.Int64, "_request": pl.UInt64}
    ).unique("offset", keep="first")
    told = rows.select("offset").join(hashes, on="offset", how="left", maintain_order="left")
    numbers = told.select(pl.int_range(pl.len(), dtype=pl.UInt64).over("offset")).to_series()
    request = told["_request"].fill_null(0)
    made = pl.Series("identity", mixed(request.to_numpy() ^ mixed(numbers.to_numpy() + np.uint64(1))))
    return rows.with_columns(
        pl.when(nameless & (request > 0)).then(made).otherwise(pl.col("identity")).alias("identity")
    )


def mixed(numbers: Hashes) -> Hashes:
    """Return numbers whose every bit depends on every bit of those given (whole numbers: the same on any machine)."""
    with np.errstate(over="ignore"):
        z = numbers + _STEP
        z = (z ^ (z >> np.uint64(30))) * _MIX[0]
        z = (z ^ (z >> np.uint64(27))) * _MIX[1]
    return z ^ (z >> np.uint64(31))
