"""Asked to stop before they have begun, long-running commands have nothing to finish, and end with status 0.

Importing this arms it, so it is imported before everything that takes a second to load; a command that has begun puts
its own handler in place.
"""

import os
import signal
import sys

LONG_RUNNING = ("worker", "up", "receive")

if len(sys.argv) > 1 and sys.argv[1] in LONG_RUNNING:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
