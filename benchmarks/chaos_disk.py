"""A small disk for the workers' state folders that can be filled up and freed again.

A tmpfs of its own where this process may mount one; elsewhere the limit on the size of files (RLIMIT_FSIZE) of the
running workers is set to nothing, so that whatever they write fails as on a full disk (EFBIG in place of ENOSPC).
"""

from __future__ import annotations

import contextlib
import errno
import resource
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

SIZE_MB: Final = 256
_FILLER: Final = "filler"
_BLOCK: Final = bytes(1 << 16)


class Disk:
    """A folder on a disk of `SIZE_MB`. `how` says in words how it is filled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._mounted = _run("mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "opsbrain-chaos", str(folder))
        self._limited: list[int] = []
        self.how = f"tmpfs of {SIZE_MB} MB, filled" if self._mounted else "RLIMIT_FSIZE of the workers set to 0"

    def fill(self, pids: Iterable[int]) -> None:
        """Leave no room: nothing more can be written, by the workers `pids` or anybody."""
        if self._mounted:
            self._fill_up()
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
                self._limited.append(pid)

    def free(self) -> None:
        """Make room again."""
        (self.folder / _FILLER).unlink(missing_ok=True)
        for pid in self._limited:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self._limited = []

    def end(self) -> None:
        """Take the disk away."""
        self.free()
        if self._mounted:
            _run("umount", "-l", str(self.folder))
            self._mounted = False

    def _fill_up(self) -> None:
        with open(self.folder / _FILLER, "ab", buffering=0) as filler:
            try:
                while True:
                    filler.write(_BLOCK)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def _run(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
