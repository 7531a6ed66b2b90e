"""Marks that stand where a value was removed when it was read: what reads puts them in, what writes refuses them."""

from __future__ import annotations

import hashlib
import re
from typing import Final

SCRUBBED: Final = "<scrubbed>"
"""Stands for a secret inside a text."""

_HASHED: Final = "sha256:"
_HASH_CHARS: Final = 8

MARK: Final = re.compile(rf"{re.escape(SCRUBBED)}|{_HASHED}[0-9a-f]{{{_HASH_CHARS}}}(?![0-9a-f])")
"""Finds either mark within a text; a whole digest, as of an image, is none."""


def hashed(value: str) -> str:
    """Return what stands for a secret value: 32 bits, enough to see a change, too little to confirm a guess."""
    return _HASHED + hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_CHARS]
