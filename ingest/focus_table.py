"""Reads a FOCUS file, CSV or Parquet, into the few columns of it that say who spent what when.

FOCUS is the FinOps Open Cost and Usage Specification (FinOps Foundation, version 1.2 of 2025; 1.0 and 1.1 have the same
columns under the same names). Of its 57 columns eleven are read; of those, seven have to be there.
"""

from __future__ import annotations

import io
import math
from typing import Final

import msgspec
import polars as pl

from engine.errors import DataError
from ingest.cost_rows import DAY_MS, day_of
from ingest.gunzip import MAGIC, gunzipped
from ingest.times import rfc3339_ms, sane

MAX_BYTES: Final = 256 << 20  # of one file, decompressed
MAX_ROWS: Final = 5_000_000  # of one file, and of its charges cut into days: some hundred bytes can claim any number
LONGEST_DAYS: Final = 366

AMOUNTS: Final = ("EffectiveCost", "BilledCost")
"""What a line costs: with discounts and commitments spread over what they are used for, else as it is on the bill."""

MANDATORY: Final = (
    "BillingAccountId",
    "BillingCurrency",
    "ChargeCategory",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ServiceName",
)
OPTIONAL: Final = ("ChargeClass", "SubAccountId", "ResourceId", "Tags")

NAMES: Final = (*MANDATORY, *OPTIONAL)
DAYS: Final = (pl.col("end_ms") - 1) // DAY_MS - pl.col("start_ms") // DAY_MS + 1
"""How many days a charge touches."""

TIMES: Final = ("ChargePeriodStart", "ChargePeriodEnd")

_PARQUET: Final = b"PAR1"
_ZONE: Final = r"(Z|[+-][0-9]{2}:?[0-9]{2})$"


def read_focus(body: bytes) -> pl.DataFrame:
    """Return the lines of a file: the texts `NAMES`, and `start_ms`, `end_ms` and `amount_usd` (in BillingCurrency).

    What is not there is null, an amount that cannot be read is NaN, and tags are JSON.
    Raises DataError when it is no FOCUS file, with the names of the columns that are missing.
    """
    if body.startswith(MAGIC):
        body = gunzipped(body, MAX_BYTES)
    if not body.strip():
        raise DataError("empty message")
    try:
        table = _parquet(body) if body.startswith(_PARQUET) else _csv(body)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, UnicodeError, ValueError) as error:
        what = "Parquet" if body.startswith(_PARQUET) else "CSV"
        raise DataError(f"{what} cannot be read ({type(error).__name__})") from error
    if table.is_empty():
        raise DataError("no lines")
    return table.select(
        *(_text(table, name).alias(name) for name in NAMES if name not in TIMES),
        pl.coalesce(*(_number(table, name) for name in AMOUNTS)).alias("amount_usd"),
        start_ms=_ms(table, "ChargePeriodStart"),
        end_ms=_ms(table, "ChargePeriodEnd"),
    )


def by_day(lines: pl.DataFrame) -> pl.DataFrame:
    """Return lines cut into days, an equal part of the amount each, with `period_start_ms` and `period_end_ms`.

    Lines must have a period, of at most `LONGEST_DAYS`. Raises DataError when they become too many.
    """
    lines = lines.with_columns(days=DAYS, first=day_of(pl.col("start_ms")))
    if int(lines["days"].sum() or 0) > MAX_ROWS:
        raise DataError(f"holds more than {MAX_ROWS:,} lines, a day each")
    parts = lines["amount_usd"].to_numpy() / lines["days"].to_numpy()
    lines = lines.with_columns(amount_usd=pl.Series(parts, dtype=pl.Float64))
    lines = lines.with_columns(day=pl.int_ranges("days")).explode("day")
    start = pl.col("first") + pl.col("day") * DAY_MS
    return lines.with_columns(period_start_ms=start, period_end_ms=start + DAY_MS).drop("days", "first", "day")


def _csv(body: bytes) -> pl.DataFrame:
    head = pl.read_csv(io.BytesIO(body), n_rows=0, infer_schema=False)
    return pl.read_csv(io.BytesIO(body), columns=_wanted(head.columns), infer_schema=False)


def _parquet(body: bytes) -> pl.DataFrame:
    file = io.BytesIO(body)
    wanted = _wanted(list(pl.read_parquet_schema(file)))
    file.seek(0)
    rows = int(pl.scan_parquet(file).select(pl.len()).collect().item())
    if rows > MAX_ROWS:
        raise DataError(f"holds more than {MAX_ROWS:,} lines")
    file.seek(0)
    return pl.read_parquet(file, columns=wanted, use_pyarrow=False)


def _wanted(columns: list[str]) -> list[str]:
    """Return which of the columns are read; raise DataError when mandatory ones are missing."""
    missing = [name for name in MANDATORY if name not in columns]
    if not any(name in columns for name in AMOUNTS):
        missing.append(" or ".join(AMOUNTS))
    if missing:
        raise DataError(f"no FOCUS columns {', '.join(missing)}")
    return [name for name in (*AMOUNTS, *NAMES) if name in columns]


def _text(table: pl.DataFrame, name: str) -> pl.Series:
    """Return a column as text, null where it is empty or not there; maps (tags) become JSON."""
    if name not in table.columns:
        return pl.Series(name, [None] * table.height, dtype=pl.String)
    column = table[name]
    if column.dtype.is_nested():
        return pl.Series(name, [_json(one) for one in column.to_list()], dtype=pl.String)
    texts = column.cast(pl.String, strict=False)
    return texts.set(texts == "", None)


def _number(table: pl.DataFrame, name: str) -> pl.Series:
    """Return a column of numbers: null where it is empty or not there, NaN where it holds something else."""
    column = table[name] if name in table.columns and table[name].dtype.is_numeric() else _text(table, name)
    numbers = column.cast(pl.Float64, strict=False)
    return numbers.set(numbers.is_null() & column.is_not_null(), math.nan)


def _ms(table: pl.DataFrame, name: str) -> pl.Series:
    """Return times as Unix milliseconds: instants as they are; texts in RFC 3339, UTC where they name no zone."""
    column = table[name]
    if column.dtype in (pl.Datetime, pl.Date):
        return sane(column.cast(pl.Datetime("ms"), strict=False).dt.epoch("ms").cast(pl.Int64))
    texts = _text(table, name).str.strip_chars().str.to_uppercase()
    texts = texts.str.replace(r" ?UTC$", "Z").str.replace(" ", "T", literal=True)
    return rfc3339_ms(texts.zip_with(texts.str.contains(_ZONE).fill_null(True), texts + "Z"))


def _json(value: object) -> str | None:
    """Return a map of tags, as Parquet has them (pairs of key and value, or a column each), as JSON."""
    if isinstance(value, list):
        pairs = [one for one in value if isinstance(one, dict) and isinstance(one.get("key"), str)]
        value = {one["key"]: one.get("value") for one in pairs}
    if not isinstance(value, dict):
        return None
    said = {key: one for key, one in value.items() if isinstance(one, str)}
    return msgspec.json.encode(said, order="sorted").decode() if said else None
