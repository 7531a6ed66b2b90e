"""Something that does not work for a while (a full disk): said once, tried again, and said once when it is over."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from typing import Final

_FIRST_S: Final = 0.5
_LONGEST_S: Final = 10.0


class Trouble:
    """What goes wrong with `what`, and when to try again: after half a second, twice that, ... ten seconds."""

    def __init__(self, log: logging.Logger, what: str, seconds: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._what = what
        self._seconds = seconds
        self._pause_s = 0.0
        self._next_s = 0.0

    @property
    def waits(self) -> bool:
        """Return whether it is too early to try again."""
        return bool(self._pause_s) and self._seconds() < self._next_s

    def began(self, error: Exception) -> None:
        """Say it if it is new, and wait longer than the last time."""
        if not self._pause_s:
            self._log.warning("%s: %s; trying again", self._what, reason(error))
        self._pause_s = min(self._pause_s * 2 or _FIRST_S, _LONGEST_S)
        self._next_s = self._seconds() + self._pause_s

    def over(self) -> None:
        """Say that it works again, if it did not."""
        if self._pause_s:
            self._log.warning("%s: works again", self._what)
        self._pause_s = 0.0


def reason(error: Exception) -> str:
    """Return what an error says, on one line.

    >>> reason(OSError(28, "No space left on device"))
    'No space left on device'
    """
    return " ".join(str(getattr(error, "strerror", None) or error).split())


def passes(error: Exception) -> bool:
    """Return whether what failed may work later: the disk or the file, not what it holds.

    >>> passes(sqlite3.OperationalError("database or disk is full")), passes(ValueError("another version"))
    (True, False)
    """
    return isinstance(error, sqlite3.Error | OSError) or isinstance(error.__cause__, sqlite3.Error | OSError)
