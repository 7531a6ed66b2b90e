from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.times import EARLIEST_MS, LATEST_MS, integer_ms, nanos_ms, number_ms, rfc3339_ms, stamps_ms, utc_ms

AT_MS = 1_755_856_800_123  # 2025-08-22T10:00:00.123Z


def text_ms(*texts: str | None) -> list[int | None]:
    return rfc3339_ms(pl.Series(texts, dtype=pl.String)).to_list()


@pytest.mark.parametrize(
    "text",
    [
        "2025-08-22T10:00:00.123Z",
        "2025-08-22T10:00:00.123456Z",
        "2025-08-22T10:00:00.123999999Z",
        "2025-08-22T12:00:00.123+02:00",
        "2025-08-22T05:30:00.123-0430",
        "2025-08-22 10:00:00.123Z",
        " 2025-08-22t10:00:00.123z ",
    ],
)
def test_spellings_of_one_moment(text: str) -> None:
    assert text_ms(text) == [AT_MS]


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "2025-08-22", "2025-02-30T00:00:00Z", "2025-08-22T25:00:00Z", "1970-01-01T00:00:00Z"),
        *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2025-08-22T10:00:00", None),
    ],
)
def test_no_moment(text: str | None) -> None:
    assert text_ms(text) == [None]


def test_a_bad_text_does_not_spoil_its_neighbours() -> None:
    assert text_ms("2025-08-22T10:00:00.123Z", "bad", "2025-08-22T12:00:00.123+02:00") == [AT_MS, None, AT_MS]


@pytest.mark.parametrize("factor", [1, 1e3, 1e6, 1e9])
def test_the_unit_of_a_number_follows_from_its_size(factor: float) -> None:
    for at_ms in (EARLIEST_MS, AT_MS, LATEST_MS - 1):
        assert number_ms(pl.Series([at_ms / 1000 * factor])).to_list() == [at_ms]


@pytest.mark.parametrize("number", [0.0, -1.0, 1e30, -1e300, float("nan"), float("inf"), EARLIEST_MS / 1000 - 1])
def test_no_moment_in_numbers(number: float) -> None:
    assert number_ms(pl.Series([number])).to_list() == [None]


@given(st.integers(EARLIEST_MS * 1000, LATEST_MS * 1000 - 1))
def test_microseconds_in_a_float_are_cut_and_not_rounded_up(micros: int) -> None:
    assert number_ms(pl.Series([micros / 1e6])).to_list() == [micros // 1000]


@given(st.integers(EARLIEST_MS // 1000, LATEST_MS // 1000 - 1))
def test_text_and_number_agree(seconds: int) -> None:
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert stamps_ms([text, float(seconds), seconds, None, "bad"]).to_list() == [*[seconds * 1000] * 3, None, None]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=25), st.floats(), st.integers(), st.booleans()), max_size=5))
def test_never_fails(stamps: list[Any]) -> None:
    found = stamps_ms(stamps)
    assert found.dtype == pl.Int64
    assert all(one is None or EARLIEST_MS <= one < LATEST_MS for one in found)


def test_nanoseconds() -> None:
    assert nanos_ms([AT_MS * 1_000_000 + 999_999, 0, -1, 10**18 * 9]).to_list() == [AT_MS, None, None, None]


@pytest.mark.parametrize(
    "text",
    [
        "2025-08-22T10:00:00.123456Z",
        "2025-08-22T12:00:00.123+02:00",
        "2025-08-22T10:00:00.123456789",
        "2025-08-22 10:00:00.123456",
        "1755856800.123",
        " 1755856800123 ",
    ],
)
def test_a_time_without_a_zone_may_be_utc(text: str) -> None:
    assert utc_ms(pl.Series([text, None, "now"])).to_list() == [AT_MS, None, None]
    assert stamps_ms([text, 1.0, AT_MS], utc_ms).to_list() == [AT_MS, None, AT_MS]


def test_whole_numbers_are_exact() -> None:
    last = AT_MS * 1_000_000 + 999_999
    assert integer_ms(pl.Series([last, last // 1000, AT_MS, AT_MS // 1000, 0, -1])).to_list() == [
        *[AT_MS] * 3,
        AT_MS // 1000 * 1000,
        None,
        None,
    ]
    assert stamps_ms([last, "bad", None, 10**30]).to_list() == [AT_MS, None, None, None]
