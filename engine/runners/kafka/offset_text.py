"""Offsets as short text, for the metadata of a committed offset."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np

MOST_CHARS: Final = 3_500
"""Brokers take 4,096 bytes of metadata by default (`offset.metadata.max.bytes`), and there is more in them."""


def text_of(offsets: Sequence[int]) -> str:
    """Return ascending offsets as text: their differences, compressed; "" for none.

    >>> len(text_of(range(7, 1_007))) < 50
    True
    """
    if not offsets:
        return ""
    differences = np.diff(np.asarray(offsets, np.int64), prepend=0).astype("<i8")
    return base64.b64encode(zlib.compress(differences.tobytes(), 9)).decode()


def offsets_in(text: str) -> list[int]:
    """Return the offsets that `text_of` wrote down."""
    if not text:
        return []
    return [int(one) for one in np.cumsum(np.frombuffer(zlib.decompress(base64.b64decode(text)), "<i8"))]
