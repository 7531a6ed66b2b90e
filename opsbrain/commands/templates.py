"""`opsbrain templates`: log templates of a plain log file."""

from __future__ import annotations

import csv
import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from engine.errors import SourceError
from opsbrain.commands.options import Json
from opsbrain.output import counted, print_json, print_table

if TYPE_CHECKING:
    from models.templates import Mined

_GZIP_MAGIC: Final = b"\x1f\x8b"


def templates(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="A plain log file (gzipped or not), one message a line.")
    ],
    json: Json = False,
    assign: Annotated[
        Path | None, typer.Option("--assign", metavar="FILE.csv", help="Write line,on_arrival,final for every line.")
    ] = None,
) -> None:
    """Learn the log templates of a file as its lines come; lines are numbered from 1."""
    from models.templates import mine

    lines = _read_lines(path)
    mined = mine(lines)
    if assign is not None:
        _write_assignment(assign, mined)
    found = [
        {"id": row["id"], "template": row["template"], "count": row["count"], "first_line": row["first_line"] + 1}
        for row in mined.templates.iter_rows(named=True)
    ]
    if json:
        print_json({"templates": found, "lines": len(lines)})
        return
    ordered = sorted(found, key=lambda one: (-one["count"], one["first_line"]))
    rows = [(f"{one['count']:,}", f"{one['first_line']:,}", one["template"]) for one in ordered]
    print_table(("count", "first line", "template"), rows)
    typer.echo(f"{counted(len(found), 'template')} in {counted(len(lines), 'line')}")


def _read_lines(path: Path) -> list[str]:
    try:
        content = path.read_bytes()
        if content.startswith(_GZIP_MAGIC):
            content = gzip.decompress(content)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: the gzip archive is damaged or cut off; bring the file again") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot read: {error.strerror}") from error
    if b"\x00" in content:
        raise SourceError(f"{path}: holds NUL bytes and is no text; give a plain log file, one message a line")
    text = content.decode("utf-8", errors="replace")
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    if lines == [""]:
        raise SourceError(f"{path}: the file is empty")
    return lines


def _write_assignment(path: Path, mined: Mined) -> None:
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("line", "on_arrival", "final"))
            writer.writerows(
                (number, *ids) for number, ids in enumerate(zip(mined.on_arrival, mined.final, strict=True), start=1)
            )
    except OSError as error:
        raise SourceError(f"{path}: cannot write: {error.strerror}") from error
