"""Reads the samples of a whole request at once, where they lie in it in one of the two shapes that senders write.

    12 10 09 <value, 8 bytes> 10 <time, 6 bytes>     a sample of 16 bytes: its value, its time
    12 07 10 <time, 6 bytes>                         the same with the value 0, which protobuf leaves out

A time has six bytes from 1971 to 2109. Which of the two it is shows in the eighth byte from the end: 07, or the sign
and exponent of a value (of 07, it would be some 1e-275: such a sample is read the slow way).
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.types import Ints

SHAPE: Final = re.compile(rb"\x12(?:\x10\x09.{7}[^\x07]\x10|\x07\x10)[\x80-\xff]{5}[\x00-\x7f]", re.DOTALL)
"""A sample of either shape."""

FULL_BYTES: Final = 18
ZERO_BYTES: Final = 9
ZERO_MARK: Final = 7  # the eighth byte from the end

_HEAD: Final = 0x091012  # the first bytes of a full one, as a number
_LIMITS: Final = np.uint64(0x808080808080)
_FIVE_GO_ON: Final = np.uint64(0x008080808080)
_SEVEN: Final = np.uint64(0x7F)

Bits = NDArray[np.uint64]


def read(body: bytes, ends: Ints) -> tuple[Ints, Bits] | None:
    """Return times (Unix ms) and bits of the values of the samples that end at `ends`; None if one has no such shape.

    `ends` are of samples of which each has 18 bytes before its end in `body`, or 9 and the mark.
    """
    ts_ms, bits, shaped = read_each(body, ends)
    return (ts_ms, bits) if shaped.all() else None


def read_each(body: bytes, ends: Ints) -> tuple[Ints, Bits, NDArray[np.bool_]]:
    """Return times and bits as `read` does, and which samples have such a shape."""
    if not len(ends):
        return np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0, np.bool_)
    last: Bits = _at(body, "<u8", ends - 8)
    zero = (last & np.uint64(0xFF)) == np.uint64(ZERO_MARK)
    times = last >> np.uint64(16)
    shaped = ((last >> np.uint64(8)) & np.uint64(0xFF)) == np.uint64(0x10)
    shaped &= (times & _LIMITS) == _FIVE_GO_ON
    bits = np.zeros(len(ends), np.uint64)
    full = np.flatnonzero(~zero)
    bits[full] = _at(body, "<u8", ends[full] - 15)
    shaped[full] &= (_at(body, "<u4", ends[full] - FULL_BYTES) & np.uint32(0xFFFFFF)) == np.uint32(_HEAD)
    shaped[zero] &= _at(body, "u1", ends[zero] - ZERO_BYTES) == 0x12
    return _six_bytes(times), bits, shaped


def _six_bytes(varints: Bits) -> Ints:
    """Return the numbers that varints of six bytes hold."""
    numbers = varints & _SEVEN
    for place in range(1, 6):
        numbers |= (varints >> np.uint64(place)) & (_SEVEN << np.uint64(7 * place))
    return numbers.astype(np.int64)


def _at(body: bytes, dtype: str, places: Ints) -> NDArray[Any]:
    """Return the numbers that lie at `places` of `body`, which need not be multiples of their size."""
    size = np.dtype(dtype).itemsize
    return np.ndarray((len(body) - size + 1,), dtype, body, 0, (1,))[places]
