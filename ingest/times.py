"""Event times as senders write them, to Unix milliseconds: RFC 3339 text, or a number of seconds and its kin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import polars as pl

EARLIEST_MS: Final = 315_532_800_000  # 1980-01-01: before it, a clock was never set
LATEST_MS: Final = 4_102_444_800_000  # 2100-01-01: after it, a unit was mistaken
OUTSIDE: Final = "time is missing, unreadable or outside 1980 to 2100"

_ZULU: Final = "%Y-%m-%dT%H:%M:%S%.fZ"
_OFFSET: Final = "%Y-%m-%dT%H:%M:%S%.f%#z"
_ZONELESS: Final = "%Y-%m-%dT%H:%M:%S%.f"

Stamp = str | float | int | None


def sane(ts_ms: pl.Series) -> pl.Series:
    """Return times with null where they lie outside 1980 to 2100."""
    return ts_ms.set(((ts_ms < EARLIEST_MS) | (ts_ms >= LATEST_MS)).fill_null(True), None)


def rfc3339_ms(texts: pl.Series) -> pl.Series:
    """Return RFC 3339 texts as Unix milliseconds (finer parts are cut), null where unreadable or not `sane`."""
    parsed = _parse(texts, _ZULU)
    if parsed.null_count() > texts.null_count():
        parsed = parsed.fill_null(
            _parse(texts.str.strip_chars().str.to_uppercase().str.replace(" ", "T", literal=True), _OFFSET)
        )
    return sane(parsed)


def utc_ms(texts: pl.Series) -> pl.Series:
    """Return texts as Unix milliseconds as `rfc3339_ms` does; a time without a zone is UTC, a number is an epoch.

    For senders that write UTC and do not say so: Fluent Bit's `java_sql_timestamp` is `2025-08-22 10:00:00.123456`.
    """
    found = rfc3339_ms(texts)
    if found.null_count() > texts.null_count():
        found = found.fill_null(sane(_parse(_spelled(texts), _ZONELESS)))
        found = found.fill_null(number_ms(texts.str.strip_chars().cast(pl.Float64, strict=False)))
    return found


def number_ms(numbers: pl.Series) -> pl.Series:
    """Return numbers of seconds, milli-, micro- or nanoseconds since 1970 as milliseconds, null where not `sane`.

    The unit follows from the size: between 1980 and 2100 the four ranges do not meet. Numbers are taken to the nearest
    microsecond (which is what a double holds of seconds) and then cut.
    """
    seconds = numbers.cast(pl.Float64)
    scaled = pl.select(
        pl.when(seconds < 1e11)
        .then(seconds * 1e6)
        .when(seconds < 1e14)
        .then(seconds * 1e3)
        .when(seconds < 1e17)
        .then(seconds)
        .otherwise(seconds / 1e3)
        .round()
    ).to_series()
    return sane(scaled.cast(pl.Int64, strict=False) // 1000)


def integer_ms(numbers: pl.Series) -> pl.Series:
    """Return whole numbers as `number_ms` does, exactly: of nanoseconds a double holds no single one."""
    scaled = pl.select(
        pl.when(numbers < 10**11)
        .then(numbers * 1000)
        .when(numbers < 10**14)
        .then(numbers)
        .when(numbers < 10**17)
        .then(numbers // 1000)
        .otherwise(numbers // 1_000_000)
    ).to_series()
    return sane(scaled)


def stamps_ms(stamps: Sequence[Stamp], text_ms: Callable[[pl.Series], pl.Series] = rfc3339_ms) -> pl.Series:
    """Return stamps of mixed types as Unix milliseconds, null where unreadable or not `sane`; texts by `text_ms`."""
    if all(type(stamp) is float for stamp in stamps):
        return number_ms(pl.Series(stamps, dtype=pl.Float64))
    if all(type(stamp) is str for stamp in stamps):
        return text_ms(pl.Series(stamps, dtype=pl.String))
    texts = pl.Series([stamp if isinstance(stamp, str) else None for stamp in stamps], dtype=pl.String)
    floats = pl.Series([stamp if isinstance(stamp, float) else None for stamp in stamps], dtype=pl.Float64)
    whole = [stamp if isinstance(stamp, int) else None for stamp in stamps]
    return (
        text_ms(texts)
        .fill_null(number_ms(floats))
        .fill_null(integer_ms(pl.Series(whole, dtype=pl.Int64, strict=False)))
    )


def nanos_ms(nanos: Sequence[int]) -> pl.Series:
    """Return nanoseconds since 1970 as milliseconds, null where not `sane`."""
    return sane(pl.Series([nano // 1_000_000 for nano in nanos], dtype=pl.Int64, strict=False))


def _parse(texts: pl.Series, layout: str) -> pl.Series:
    parsed = texts.str.to_datetime(layout, strict=False, time_unit="ms")
    return parsed.dt.epoch("ms").cast(pl.Int64)


def _spelled(texts: pl.Series) -> pl.Series:
    return texts.str.strip_chars().str.to_uppercase().str.replace(" ", "T", literal=True)
