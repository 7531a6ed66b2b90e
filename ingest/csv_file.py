"""Reads one CSV file, gzipped or not, as text columns, and says of each line that is no row why.

A damaged file gives what it holds: rows before the cut of a truncated archive are used, a line that is no row is
refused alone. One row a line: the data sets read here have no line breaks inside fields.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import polars as pl

from engine.errors import SourceError
from ingest.frame_reader import Refusal
from ingest.lines import inflate
from ingest.refused import excerpts
from ingest.scrub import Scrubber

_GZIP_MAGIC: Final = b"\x1f\x8b"


def read_bytes(path: Path) -> tuple[bytes, str]:
    """Return a file's content, unzipped if it is gzip, and what is wrong with it ("" if nothing).

    Of a damaged archive everything up to the last whole line before the damage is returned. Raises SourceError when
    the file cannot be opened, or is named .gz and is no gzip.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}; check the path and its permissions") from error
    if not raw.startswith(_GZIP_MAGIC):
        if path.suffix == ".gz" and raw:
            raise SourceError(f"{path}: is not gzip; bring the file again")
        return raw, "" if raw or path.suffix != ".gz" else "the gzip file is empty"
    return gunzip(raw)


def gunzip(raw: bytes, whole_lines: bool = True) -> tuple[bytes, str]:
    """Return what a gzip archive holds (all members, up to the first damage) and what is wrong ("" if nothing).

    With `whole_lines`, what a damaged archive holds ends with its last whole line.
    """
    parts: list[bytes] = []
    problem = ""
    while raw.startswith(_GZIP_MAGIC):
        member = zlib.decompressobj(wbits=31)
        text, whole = inflate(member, raw)
        parts.append(text)
        if not whole:
            problem = "the gzip stream is damaged; the rows before the damage are used"
            break
        if not member.eof:
            problem = "the gzip stream ends early; the rows before the cut are used"
            break
        raw = member.unused_data
    text = b"".join(parts)
    if problem and whole_lines:
        text = text[: text.rfind(b"\n") + 1]
    return text, problem


def read_csv(path: Path, name: str, needed: Sequence[str]) -> tuple[pl.DataFrame, list[Refusal]]:
    """Return the rows as text columns with `row` (the line number, the header being 1), and the lines that are no rows.

    `name` is how the file is called in refusals. Raises SourceError when a `needed` column is missing.
    """
    content, problem = read_bytes(path)
    return parse_csv(content, name, needed, problem, str(path))


def parse_csv(
    content: bytes, name: str, needed: Sequence[str], problem: str = "", path: str = ""
) -> tuple[pl.DataFrame, list[Refusal]]:
    """Return the rows of a CSV in memory and what is no row, as `read_csv` does."""
    refused = [Refusal(name, 0, problem)] if problem else []
    if problem and b"\n" not in content:  # cut within the header
        return pl.DataFrame(schema=dict.fromkeys((*needed, "row"), pl.String)).cast({"row": pl.Int64}), refused
    header = _header(content, path or name, needed)
    lines = content.count(b"\n") + (not content.endswith(b"\n")) - 1
    frame = _at_once(content, header, lines)
    if frame is None:
        frame, bad = _line_by_line(content, header, name)
        refused += bad
    return frame, refused


def _header(content: bytes, path: str, needed: Sequence[str]) -> list[str]:
    first = content.partition(b"\n")[0].decode("utf-8-sig", errors="replace").strip("\r")
    header = next(csv.reader([first]), [])
    missing = [column for column in needed if column not in header]
    if missing:
        raise SourceError(f"{path}: the header lacks {', '.join(missing)}; it is {first[:200]!r}")
    return header


def _at_once(content: bytes, header: Sequence[str], lines: int) -> pl.DataFrame | None:
    """Return all rows, or None where any line is not one row (polars says so, or gives another number of rows)."""
    if lines == 0:
        return pl.DataFrame(schema=dict.fromkeys(header, pl.String)).with_columns(row=pl.lit(0, pl.Int64))
    try:
        frame = pl.read_csv(content, infer_schema=False, has_header=False, skip_rows=1, new_columns=list(header))
    except pl.exceptions.PolarsError:
        return None
    if frame.height != lines or frame.width != len(header) or _may_lack_fields(content, frame):
        return None
    return frame.with_columns(row=pl.int_range(2, lines + 2, dtype=pl.Int64))


def _may_lack_fields(content: bytes, frame: pl.DataFrame) -> bool:
    """Return whether a line may be too short, which polars fills up in silence."""
    if b'"' in content:
        return frame.to_series(-1).has_nulls()
    return content.count(b",") != (frame.height + 1) * (frame.width - 1)


def _line_by_line(content: bytes, header: Sequence[str], name: str) -> tuple[pl.DataFrame, list[Refusal]]:
    rows: list[list[str | int | None]] = []
    refused: list[Refusal] = []
    for number, line in enumerate(content.splitlines()[1:], start=2):
        try:
            fields = next(csv.reader([line.decode()], strict=True), [])
        except (csv.Error, UnicodeDecodeError) as error:
            reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else f"no CSV row: {error}"
            refused.append(Refusal(name, number, reason, excerpt(line)))
            continue
        if len(fields) != len(header):
            refused.append(Refusal(name, number, f"{len(fields)} fields instead of {len(header)}", excerpt(line)))
            continue
        rows.append([*(field or None for field in fields), number])
    schema = {**dict.fromkeys(header, pl.String), "row": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row"), refused


def excerpt(line: bytes | str) -> str:
    """Return the beginning of a refused line, scrubbed."""
    raw = line.encode(errors="replace") if isinstance(line, str) else line
    return excerpts([raw], Scrubber())[0]


def split_bad(frame: pl.DataFrame, name: str, bad: pl.Expr, reason: str) -> tuple[pl.DataFrame, list[Refusal]]:
    """Return the rows that are not `bad` (null counts as bad), and a refusal for each of the others."""
    mask = frame.select(bad.fill_null(True)).to_series()
    if not mask.any():
        return frame, []
    columns = [column for column in frame.columns if column not in ("row", "file")]
    refused = [
        Refusal(
            str(one.get("file", name)), int(one["row"]), reason, excerpt(",".join(str(one[c] or "") for c in columns))
        )
        for one in frame.filter(mask).iter_rows(named=True)
    ]
    return frame.filter(~mask), refused
