"""Anomalies as rows of a frame, as they travel between steps, and as values."""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from engine.types import Anomaly, Severity

_USERS_NOTICE: Final = ("span.error_ratio", "log.severity.error", "log.severity.fatal")


def anomalies_of(frame: pl.DataFrame) -> list[Anomaly]:
    """Return the anomalies of a frame of the stream `anomalies`, in its order."""
    return [_anomaly(row) for row in frame.iter_rows(named=True)]


def _anomaly(row: dict[str, Any]) -> Anomaly:
    noticed = row["indicator"].startswith(_USERS_NOTICE) and row["direction"] > 0
    severity = Severity.INFO if row["form"] == "money" else Severity.CRITICAL if noticed else Severity.WARNING
    return Anomaly(
        id=row["id"],
        entity=row["entity"],
        indicator=row["indicator"],
        form=row["form"],
        detectors=tuple(row["detectors"].split(",")),
        start_ms=row["start_ms"],
        end_ms=row["end_ms"],
        direction=row["direction"],
        expected_lo=row["expected_lo"],
        expected_hi=row["expected_hi"],
        observed=row["value"],
        tail_p=row["tail_p"],
        severity=severity,
        text=row["text"] or "",
    )
