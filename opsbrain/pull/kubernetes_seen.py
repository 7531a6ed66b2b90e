"""What a watch has handed over: a file that only grows, and is rewritten when most of it is out of date.

A line is a JSON array, one of

    ["told", uid, resourceVersion, seen at (Unix ms), gone, what is left to say of it when it vanishes]
    ["at", resourceVersion]

`told` goes to disk before an object is handed over, `at` after. So a restart knows three things: where to watch on
(`cursor`), what is known to have been handed over (`known`), and at what times that which may or may not have been kept
was seen: handed over once more with that time it is the same bytes, and is recognised further on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from engine.errors import SourceError

_SPARE_LINES: Final = 10_000
_SUFFIX: Final = ".seen"


@dataclass(frozen=True, slots=True)
class Told:
    """One version of an object that was handed over. `remains` tells enough of it to say later that it is gone."""

    uid: str
    version: str
    seen_ms: int
    gone: bool = False
    remains: dict[str, Any] | None = None

    @property
    def key(self) -> tuple[str, str, bool]:
        """Return what tells it from every other."""
        return self.uid, self.version, self.gone


class Seen:
    """Remembers what was handed over. Every method raises SourceError when the disk refuses."""

    def __init__(self, path: Path) -> None:
        """Name the file; it is read, or made, by `open`."""
        self._path = path
        self._file: BinaryIO | None = None
        self._lines = 0
        self._unsure: dict[tuple[str, str, bool], Told] = {}
        self.known: dict[str, Told] = {}
        self.cursor = ""

    def open(self) -> None:
        """Read what an earlier run left, once; a line that a crash cut short was not acted upon."""
        if self._file is not None:
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for line in self._path.read_bytes().split(b"\n") if self._path.exists() else []:
                self._replay(line)
            self._rewrite()
        except OSError as error:
            raise self._refused(error) from error

    def seen_ms(self, told: Told) -> int:
        """Return when this version was first seen: `told.seen_ms`, or the time before a crash."""
        before = self._unsure.get(told.key)
        return before.seen_ms if before is not None else told.seen_ms

    def possible(self) -> list[Told]:
        """Return all that was handed over and is not known to be gone, also what may not have been kept."""
        unsure = {one.uid: one for one in self._unsure.values() if not one.gone}
        return list((self.known | unsure).values())

    def tell(self, told: Iterable[Told], durable: bool = True) -> None:
        """Write down what is about to be handed over."""
        for one in told:
            self._unsure[one.key] = one
            self._append(["told", one.uid, one.version, one.seen_ms, one.gone, one.remains])
        self._flush(durable)

    def move(self, version: str) -> None:
        """Write down that all that was told has been kept, and that the watch goes on from `version`."""
        for told in self._unsure.values():
            self._settle(told)
        self._unsure.clear()
        self.cursor = version
        self._append(["at", version])
        self._flush(durable=False)
        if self._lines > 2 * len(self.known) + _SPARE_LINES:
            self._rewrite()

    def expire(self) -> None:
        """Forget where the watch stood: the cluster has, too."""
        self.cursor = ""

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _settle(self, told: Told) -> None:
        if told.gone:
            self.known.pop(told.uid, None)
        else:
            self.known[told.uid] = told

    def _replay(self, line: bytes) -> None:
        try:
            found = msgspec.json.decode(line, type=list[Any])
            if found[0] == "told":
                told = Told(*found[1:])
                self._unsure[told.key] = told
            else:
                self.cursor = str(found[1])
                for told in self._unsure.values():
                    self._settle(told)
                self._unsure.clear()
        except (msgspec.MsgspecError, UnicodeDecodeError, TypeError, IndexError):
            return

    def _rewrite(self) -> None:
        """Replace the file by what is still true; a crash leaves the old or the new one."""
        begun = self._path.with_suffix(".new")
        lines = [["told", one.uid, one.version, one.seen_ms, one.gone, one.remains] for one in self.known.values()]
        rows = [*lines, ["at", self.cursor]]
        rows += [["told", one.uid, one.version, one.seen_ms, one.gone, one.remains] for one in self._unsure.values()]
        try:
            self.close()
            with os.fdopen(os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                out.write(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
                out.flush()
                os.fsync(out.fileno())
            begun.replace(self._path)
            self._file = self._path.open("ab")
            self._lines = len(rows)
        except OSError as error:
            raise self._refused(error) from error

    def _append(self, row: list[Any]) -> None:
        assert self._file is not None, "open() comes first"
        self._file.write(msgspec.json.encode(row) + b"\n")
        self._lines += 1

    def _flush(self, durable: bool) -> None:
        assert self._file is not None, "open() comes first"
        try:
            self._file.flush()
            if durable:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> SourceError:
        return SourceError(f"{self._path}: cannot be read or written: {error.strerror}")
