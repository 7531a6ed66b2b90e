"""One process at a time in a folder: a lock that the system lets go of when the process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from engine.errors import SourceError

LOCK: Final = "up.lock"


def lock_folder(folder: Path, *, who: str, remedy: str) -> int:
    """Make the folder if need be, and take it for this process; return the handle that holds it.

    Raises SourceError, with the `remedy`, when it cannot be written or when another process (`who`) has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SourceError(f"{folder}: cannot be written: {error.strerror}; {remedy}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise SourceError(f"{folder}: another {who} uses it; stop that one, or {remedy}") from error
    return handle
