"""What a source reads, as one short text: its files by name and size, without reading them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from engine.errors import SourceError
from engine.ids import content_id


def content_of(folder: Path, files: Iterable[Path], *also: str) -> str:
    """Return an id of the files (relative names and sizes) and of what else is said; the same wherever they lie.

    Raises SourceError when a file cannot be looked at.
    """
    try:
        named = sorted((one.relative_to(folder).as_posix(), one.stat().st_size) for one in files)
    except OSError as error:
        raise SourceError(f"{error.filename}: {error.strerror}; check the path and its permissions") from error
    return content_id("src", named, *also)
