"""What every source of log lines does with their text: clip, scrub, mask, and find out how bad it is."""

from __future__ import annotations

from collections import Counter
from typing import Final

import polars as pl

from ingest.mask import mask_series
from ingest.scrub import scrub_series
from ingest.severity import severity_of_level, severity_of_text

MAX_BODY_CHARS: Final = 16_384
"""Longer lines are cut: what lies behind is a dumped document, and rows must stay small."""


def with_text(frame: pl.DataFrame, scrubbed: Counter[str]) -> pl.DataFrame:
    """Return `frame` with `body` cut and scrubbed, and the columns `severity` and `signature` made from it.

    A column `level` holds explicit levels (null where none); adds to `scrubbed` what was taken out, by kind.
    """
    body = scrub_series(frame["body"].str.strip_chars_end("\r\n").str.head(MAX_BODY_CHARS), scrubbed)
    level = severity_of_level(frame["level"])
    severity = level if not level.has_nulls() else level.fill_null(severity_of_text(body))
    return frame.with_columns(
        body=body, severity=severity.alias("severity"), signature=mask_series(body).alias("signature")
    )
