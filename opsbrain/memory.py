"""How polars' allocator behaves in our processes. Imported before polars is: it reads this once, when it is loaded."""

from __future__ import annotations

import os
from typing import Final

# Give freed pages back after half a second, not ten: a stream's memory is read off the process, by people and by limits.
ALLOCATOR: Final = "dirty_decay_ms:500,muzzy_decay_ms:500"

os.environ.setdefault("_RJEM_MALLOC_CONF", ALLOCATOR)
