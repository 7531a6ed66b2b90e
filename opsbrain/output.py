"""What commands print: JSON for scripts, tables for people, never a control character from telemetry."""

from __future__ import annotations

import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import typer

from engine.errors import SourceError


def printable(text: str) -> str:
    """Return `text` on one line without control characters: log text must not steer a terminal.

    >>> printable("a\\x1b[31mb\\nc")
    'a [31mb c'
    """
    shown = "".join(" " if unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp") else one for one in text)
    return " ".join(shown.split())


def escaped(text: str) -> str:
    """Return one line of JSON with control characters as JSON writes them, and all else as it is.

    >>> escaped('{"a":  "\x1b"}')
    '{"a":  "\\\\u001b"}'
    """
    shown = (f"\\u{ord(one):04x}" if unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp") else one for one in text)
    return "".join(shown)


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with what it counts.

    >>> counted(1, "incident"), counted(2000, "fix", "fixes")
    ('1 incident', '2,000 fixes')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def check_writable(path: Path, *, folder: bool) -> None:
    """Raise SourceError when nothing could be written to `path`, before hours of work are lost to it; makes nothing."""
    try:
        if path.exists() and path.is_dir() is not folder:
            raise SourceError(f"{path}: cannot write: this is {'a file, not a folder' if folder else 'a folder'}")
        inside = path if folder else path.parent
        existing = next(one for one in (inside.absolute(), *inside.absolute().parents) if one.exists())
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise SourceError(f"{path}: cannot write: {error.strerror}") from error


def print_json(value: Any) -> None:
    """Print a value as JSON; NaN as null."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns; the last one is as long as it needs to be."""
    cells = [list(headers), *[[printable(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers) - 1)]
    for row in cells:
        typer.echo(
            "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        )


@contextmanager
def progress(what: str, total: int) -> Iterator[Any]:
    """Give a callback that takes how much of `total` is done: a bar on a terminal, nothing in a pipe."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done: None
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
