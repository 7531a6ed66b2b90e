"""What a puller remembers: one small JSON file, replaced as a whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Generic, TypeVar

import msgspec

from engine.errors import SourceError, StateMismatch
from opsbrain.file_names import file_name

T = TypeVar("T")

_SUFFIX: Final = ".json"


class StateFile(Generic[T]):
    """Loads and saves a puller's state, mode 0600; a crash leaves the old or the new one, never half of one."""

    def __init__(self, folder: Path, name: str, of: type[T]) -> None:
        """Name the file; `folder` is made when something is saved, `name` may hold anything."""
        self._path = folder / (file_name(name) + _SUFFIX)
        self._of = of

    @property
    def path(self) -> Path:
        """Return where it lies."""
        return self._path

    def load(self) -> T | None:
        """Return what was saved last, or None; raise SourceError or StateMismatch when it cannot be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=self._of)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SourceError(f"{self._path}: cannot be read: {error.strerror}") from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StateMismatch(f"{self._path}: is not what was saved; delete it to pull everything again") from error

    def save(self, state: T) -> None:
        """Replace what is there; it is durable when this returns. Raises SourceError when the disk refuses."""
        begun = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(file, "wb") as out:
                out.write(msgspec.json.encode(state))
                out.flush()
                os.fsync(out.fileno())
            begun.replace(self._path)
        except OSError as error:
            raise SourceError(f"{self._path}: cannot be written: {error.strerror}") from error
