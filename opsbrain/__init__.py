"""The application: command line, settings, workers, receivers, notifications; wires the other packages together."""

import os

__version__ = "0.1.0"

# Read once by polars' allocator when polars is loaded, so it stands here: give freed pages back after half a second,
# not ten. A stream's memory is read off its process, by people and by limits.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:500,muzzy_decay_ms:500")
