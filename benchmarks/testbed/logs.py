"""A pod's log: plain lines as applications print them, information on stdout, warnings and errors on stderr."""

import sys
import threading
from typing import TextIO

from benchmarks.testbed.clock import now_ns, rfc3339_ms


class Log:
    """Prints lines of the form `TIME LEVEL LOGGER message`, whole even from many threads."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._lock = threading.Lock()

    def say(self, part: str, message: str) -> None:
        """Print what is worth knowing; `part` names the module of the service."""
        self._line(sys.stdout, "INFO", part, message)

    def caution(self, part: str, message: str) -> None:
        """Print what somebody should look at."""
        self._line(sys.stderr, "WARN", part, message)

    def fail(self, part: str, message: str) -> None:
        """Print what failed."""
        self._line(sys.stderr, "ERROR", part, message)

    def _line(self, stream: TextIO, level: str, part: str, message: str) -> None:
        with self._lock:
            stream.write(f"{rfc3339_ms(now_ns())} {level} {self._service}.{part} {message}\n")
            stream.flush()
