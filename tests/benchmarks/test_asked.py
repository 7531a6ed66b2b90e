"""What the environment asks of a benchmark is a number in its range, or one line that names the variable."""

from __future__ import annotations

import pytest

from benchmarks.asked import number, whole
from engine.errors import SourceError

KEY = "OPSBRAIN_BENCH_ASKED"


@pytest.mark.parametrize(("text", "meant"), [("", 7), ("12", 12)])
def test_numbers_are_read(monkeypatch: pytest.MonkeyPatch, text: str, meant: int) -> None:
    monkeypatch.setenv(KEY, text)
    assert whole(KEY, 7) == number(KEY, 7.0) == meant


@pytest.mark.parametrize("text", ["x", "-1", "nan", "inf"])
def test_nonsense_is_refused_by_the_name_of_the_variable(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(KEY, text)
    for read in (whole, number):
        with pytest.raises(SourceError, match=f"{KEY} is '{text}'; give a"):
            read(KEY, 7)
