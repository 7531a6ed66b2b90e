"""What every source of log lines does with their text: clip, scrub, mask, and find out how bad it is."""

from __future__ import annotations

from typing import Final

import msgspec
import polars as pl

from ingest.refused import UNREADABLE
from ingest.scrub import Scrubber
from ingest.severity import severity_of_level, severity_of_text
from models.masking import mask_series

MAX_BODY_CHARS: Final = 16_384
"""Longer lines are cut: what lies behind is a dumped document, and rows must stay small."""


_CRI: Final = r"^\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+\-]\d\d:\d\d) (?:stdout|stderr) [FP] "
_WITHOUT_CRI: Final = pl.col("line").str.replace(_CRI, "")
_DOCKER: Final = '{"log":"'
_ESCAPE: Final = "\x1b["
_COLOUR: Final = r"\x1b\[[0-9;]*[A-Za-z]"


def unwrapped(lines: pl.Series) -> pl.Series:
    """Return what applications wrote, out of lines as container runtimes keep them (CRI, Docker's json-file).

    Where a parser is set up in the shipper, this never finds anything; where none is, the wrapping hides the level, as
    colours for terminals do, which go too.
    """
    lines = lines.to_frame("line").select_seq(_WITHOUT_CRI).to_series()
    if lines.str.contains(_ESCAPE, literal=True).any():
        lines = lines.str.replace_all(_COLOUR, "")
    wrapped = lines.str.starts_with(_DOCKER)
    if not wrapped.any():
        return lines
    places = wrapped.fill_null(False).arg_true()
    return lines.scatter(places, pl.Series([_docker_line(line) for line in lines.filter(wrapped)], dtype=pl.String))


def _docker_line(line: str) -> str:
    try:
        wrapped = _DOCKER_LINE.decode(line)
    except UNREADABLE:
        return line
    return wrapped.log if wrapped.stream or wrapped.time else line


def with_text(frame: pl.DataFrame, scrubber: Scrubber) -> pl.DataFrame:
    """Return `frame` with `body` cut and scrubbed, and the columns `severity` and `signature` made from it.

    A column `level` holds explicit levels (null where none).
    """
    body = scrubber.series(unwrapped(frame["body"]).str.strip_chars_end("\r\n").str.head(MAX_BODY_CHARS))
    severity = severity_of_level(frame["level"])
    places = severity.is_null().arg_true()
    if len(places):
        severity = severity.scatter(places, severity_of_text(body.gather(places)))
    return frame.with_columns(
        body=body,
        severity=severity.alias("severity"),
        signature=mask_series(body).alias("signature"),
    )


class _DockerLine(msgspec.Struct):
    log: str
    stream: str = ""
    time: str = ""


_DOCKER_LINE: Final = msgspec.json.Decoder(_DockerLine)
