"""Cleans up behind a benchmark that was killed itself: a process that waits for the end of its parent.

Whoever runs in `folder` (its path stands in their command line) is ended, what is mounted below it is taken away, and
the folder is removed. A benchmark that ends in order does all this itself, and the guard finds nothing to do.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

# The pipe on standard input is closed when the parent is gone, however it went. Nothing is ended by its name: only what
# bears this very folder, which is made fresh for each run, in its command line.
_SCRIPT: Final = r"""
trap '' INT TERM HUP
cat >/dev/null
[ -d "$1" ] || exit 0
for process in /proc/[0-9]*; do
  pid="${process#/proc/}"
  [ "$pid" != "$$" ] && tr '\0' ' ' <"$process/cmdline" 2>/dev/null | grep -qF "$1" && kill -9 "$pid" 2>/dev/null
done
umount -l "$1/disk" 2>/dev/null
rm -rf "$1/kafka"
[ -e "$1/keep" ] || rm -rf "$1"
"""


class Guard:
    """Watches over one folder while the context is open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Guard:
        self._process = subprocess.Popen(
            ["bash", "-c", _SCRIPT, "opsbrain-chaos-guard", str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
