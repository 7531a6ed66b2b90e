"""Finds numbers by 64-bit hashes, many at a time: what a dictionary does, in an eighth of its memory.

    known = HashNumbers()
    known.add(hashes, numbers)
    known.find(hashes)              # their numbers, -1 where there is none

Some 20 ns a look-up and 16 to 32 bytes a hash below a million, where a dictionary of whole numbers takes 60 ns, one
after another, and 150 bytes. Open addressing with triangular probing: D. E. Knuth, The Art of Computer Programming 3,
6.4; the steps 1, 2, 3 ... reach every slot of a power of two.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]

UNKNOWN: Final = -1

_FEWEST: Final = 1_024  # slots
_FULLEST: Final = 0.6  # of the slots; above it, searches get long
_LOW: Final = np.uint64(0xFFFFFFFF)
_HALF: Final = np.uint64(32)
_NOTHING: Final = np.zeros((), np.uint64)


class HashNumbers:
    """Maps hashes to numbers below 2^31. Hashes must be spread well in their low bits; 0 is taken for 1.

    `checks` are 32 more bits of each key, where 64 of them are too few to tell keys apart. They play no part in the
    place of a key: of two keys with one hash and two checks, only the one that was added last is known.
    """

    __slots__ = ("_height", "_slots", "_words")

    def __init__(self) -> None:
        self.clear()

    def __len__(self) -> int:
        return self._height

    @property
    def size_bytes(self) -> int:
        """Return how much memory it takes."""
        return self._slots.nbytes

    def clear(self) -> None:
        """Forget everything."""
        self._height = 0
        self._hold(np.zeros((_FEWEST, 2), np.uint64))

    def _hold(self, slots: NDArray[np.uint64]) -> None:
        self._slots = slots  # hash (0: free); number, and above it the check
        self._words = slots.reshape(-1).data

    def find(self, hashes: Hashes, checks: Hashes | None = None) -> Numbers:
        """Return (N,) the numbers of hashes, UNKNOWN where one was never added (or with another check)."""
        slots, mask = self._slots.view(np.complex128).ravel(), np.uint64(len(self._slots) - 1)
        wanted = _without_0(hashes)
        place = wanted & mask
        found = slots[place].view(np.uint64).reshape(-1, 2)  # both words of a slot with one look at memory
        there, held = found[:, 0], found[:, 1]
        held = np.where(there == wanted, held, ~_NOTHING)
        open_ = np.flatnonzero((there != wanted) & (there != 0))
        step = _NOTHING
        while len(open_):
            step = step + np.uint64(1)
            place[open_] = (place[open_] + step) & mask
            found = slots[place[open_]].view(np.uint64).reshape(-1, 2)
            hit = found[:, 0] == wanted[open_]
            held[open_[hit]] = found[hit, 1]
            open_ = open_[~hit & (found[:, 0] != 0)]
        known = held != ~_NOTHING
        if checks is not None:
            known &= held >> _HALF == checks & _LOW
        return np.where(known, (held & _LOW).astype(np.int64), UNKNOWN)

    def get(self, hash: int, check: int | None = None) -> int:
        """Return the number of one hash, as `find` does of many."""
        place = self._place(hash or 1)
        held = self._words[place + 1]
        if not self._words[place] or (check is not None and held >> 32 != check & 0xFFFFFFFF):
            return UNKNOWN
        return held & 0xFFFFFFFF

    def put(self, hash: int, number: int, check: int = 0) -> None:
        """Give one hash its number, as `add` does for many."""
        self._make_room(1)
        place = self._place(hash or 1)
        self._height += not self._words[place]
        self._words[place], self._words[place + 1] = hash or 1, number | (check & 0xFFFFFFFF) << 32

    def _place(self, wanted: int) -> int:
        """Return where a hash is among the words, or a free slot for it."""
        words, mask = self._words, len(self._slots) - 1
        place, step = wanted & mask, 0
        while (there := words[2 * place]) and there != wanted:
            step += 1
            place = (place + step) & mask
        return 2 * place

    def add(self, hashes: Hashes, numbers: Numbers, checks: Hashes | None = None) -> None:
        """Give hashes their numbers; those of known ones are replaced. Equal hashes must have equal numbers."""
        if not len(hashes):
            return
        self._make_room(len(hashes))
        held = numbers.astype(np.uint64) & _LOW
        if checks is not None:
            held |= checks << _HALF
        self._height += self._insert(_without_0(hashes), held)

    def _make_room(self, more: int) -> None:
        size = len(self._slots)
        while self._height + more > _FULLEST * size:
            size *= 2
        if size > len(self._slots):
            old = self._slots[self._slots[:, 0] != 0]
            self._hold(np.zeros((size, 2), np.uint64))
            self._insert(old[:, 0].copy(), old[:, 1].copy())

    def _insert(self, hashes: Hashes, held: Hashes) -> int:
        """Put hashes into slots; return how many were free before."""
        slots, mask = self._slots, np.uint64(len(self._slots) - 1)
        place, step, taken = hashes & mask, _NOTHING, 0
        while len(hashes):
            free = place[slots[place, 0] == 0]
            slots[place, 0] = np.where(slots[place, 0] == 0, hashes, slots[place, 0])
            taken += len(np.unique(free)) if len(free) else 0
            in_ = slots[place, 0] == hashes  # of those that want one free slot, the last one gets it
            slots[place[in_], 1] = held[in_]
            step = step + np.uint64(1)
            hashes, held = hashes[~in_], held[~in_]
            place = (place[~in_] + step) & mask
        return taken


def _without_0(hashes: Hashes) -> Hashes:
    return np.where(hashes == 0, np.uint64(1), hashes)
