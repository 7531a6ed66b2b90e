"""How bad lines say they are."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.severity import SEVERITIES, severity_of_level, severity_of_text

LINES = {
    "2026-11-21T00:47:54.733Z INFO store.main starting": "info",
    "2026-11-21 00:47:54,733 [main] WARN  c.e.Shop - slow": "warn",
    "[ERROR] no route": "error",
    "ERROR: relation does not exist": "error",
    "2026/11/21 00:47:54 [error] 7#7: *1 open() failed": "error",
    "level=debug msg=x": "debug",
    'ts=1 level="warning" msg=x': "warn",
    '{"severity":"ERROR","message":"x"}': "error",
    '{"level":50,"msg":"x"}': "error",
    '{"level":"info","msg":"ERROR in the text"}': "info",
    "E1121 00:47:54.733 1 main.go:7] failed": "error",
    "W1121 00:47:54.733 1 main.go:7] slow": "warn",
    "panic: runtime error: index out of range": "fatal",
    "Traceback (most recent call last):": "error",
    "java.lang.NullPointerException: x": "error",
    "FATAL could not bind": "fatal",
    "critical: disk full": "fatal",
    "TRACE enter": "trace",
    "there was no error at all": "info",
    "INFORMATIONAL words ERRORS": "info",
    "": "info",
}


@pytest.mark.parametrize(("line", "severity"), LINES.items())
def test_text(line: str, severity: str) -> None:
    assert severity_of_text(pl.Series([line]))[0] == severity


def test_a_series_is_as_its_lines() -> None:
    assert severity_of_text(pl.Series(list(LINES))).to_list() == list(LINES.values())


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        ("WARNING", "warn"),
        (" Error ", "error"),
        ("notice", "info"),
        ("crit", "fatal"),
        ("30", "info"),
        ("gold", None),
        (None, None),
    ],
)
def test_levels(level: str | None, severity: str | None) -> None:
    assert severity_of_level(pl.Series([level], dtype=pl.String))[0] == severity


@given(st.lists(st.text()))
def test_any_line_has_a_severity(lines: list[str]) -> None:
    found = severity_of_text(pl.Series(lines, dtype=pl.String))
    assert len(found) == len(lines)
    assert set(found) <= set(SEVERITIES)
