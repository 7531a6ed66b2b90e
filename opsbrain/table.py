"""Reads a table of series: a time column and one column a series, from CSV or Parquet, told apart by content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from engine.errors import SourceError
from engine.types import Floats, Ints

_MISSING: Final = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
_TIME_NAMES: Final = ("timestamp", "time", "ts", "ts_ms", "datetime", "date")
_MILLISECONDS: Final = 1e11  # above this a number is milliseconds: as seconds it would be the year 5138


@dataclass(frozen=True, slots=True)
class Table:
    """Series over time.

    names   the series, as in the header
    ms      (rows,) times in Unix milliseconds, ascending
    said    each time as it was written
    values  (rows, series), NaN where a number is missing
    """

    names: tuple[str, ...]
    ms: Ints
    said: tuple[Any, ...]
    values: Floats

    @property
    def step_ms(self) -> int:
        """Return the usual distance between rows, at least 1."""
        steps = np.diff(self.ms)
        positive = steps[steps > 0]
        return max(int(np.median(positive)), 1) if positive.size else 1


def read_table(path: Path) -> Table:
    """Return the table in `path`, rows in the order of their times; raise SourceError that says what is wrong where."""
    frame = _read(path)
    if frame.height == 0:
        raise SourceError(f"{path}: no rows")
    time = _time_column(path, frame)
    names = [name for name in frame.columns if name != time]
    if not names:
        raise SourceError(f"{path}: only the time column {time!r}; expected timestamp,value or one column a series")
    said = frame[time].to_list()
    ms = _milliseconds(path, time, said)
    order = np.argsort(ms, kind="stable")
    values = np.column_stack([_numbers(path, frame[name]) for name in names])
    return Table(tuple(names), ms[order], tuple(_said(said[at]) for at in order.tolist()), values[order])


def time_after(table: Table, row: int) -> Any:
    """Return the time of the row after `row`, as it would be written; past the end, one step on."""
    if row + 1 < len(table.said):
        return table.said[row + 1]
    last = table.said[row]
    if isinstance(last, int | float):
        scale = 1 if abs(table.ms[row] - last) < 1 else 1000
        later = last + table.step_ms / scale
        return int(later) if isinstance(last, int) and later == int(later) else later
    moment = datetime.fromisoformat(last) + timedelta(milliseconds=table.step_ms)
    text = moment.isoformat(sep="T" if "T" in last else " ")
    return text.replace("+00:00", "Z") if last.endswith("Z") else text


def _read(path: Path) -> pl.DataFrame:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic == b"PAR1":
            return pl.read_parquet(path, glob=False)
        if b"\x00" in magic:
            raise SourceError(f"{path}: neither CSV nor Parquet")
        return pl.read_csv(path, infer_schema=False, null_values=list(_MISSING), glob=False)
    except pl.exceptions.NoDataError as error:
        raise SourceError(f"{path}: the file is empty") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot read: {error.strerror or _first_line(error)}") from error
    except pl.exceptions.PolarsError as error:
        raise SourceError(f"{path}: cannot read the table: {_first_line(error)}") from error


def _time_column(path: Path, frame: pl.DataFrame) -> str:
    known = {name.strip().lower(): name for name in reversed(frame.columns)}
    for name in _TIME_NAMES:
        if name in known:
            return known[name]
    raise SourceError(
        f"{path}: no time column; name one of the columns timestamp or time (there are: {', '.join(frame.columns[:6])})"
    )


def _milliseconds(path: Path, name: str, said: Sequence[Any]) -> Ints:
    numbers = [_number_or_none(one) for one in said]
    if numbers[0] is not None:
        values = np.array([np.nan if one is None else one for one in numbers])
        if not np.isfinite(values).all():
            raise _bad_time(path, name, int(np.argmin(np.isfinite(values))), said)
        scale = 1.0 if np.abs(values).max() >= _MILLISECONDS else 1000.0
        return np.rint(values * scale).astype(np.int64)
    return np.array([_moment(path, name, row, said) for row in range(len(said))], dtype=np.int64)


def _number_or_none(value: Any) -> float | None:
    if isinstance(value, int | float):
        return float(value)
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _moment(path: Path, name: str, row: int, said: Sequence[Any]) -> int:
    value = said[row]
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
    except ValueError as error:
        raise _bad_time(path, name, row, said) from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _bad_time(path: Path, name: str, row: int, said: Sequence[Any]) -> SourceError:
    found = "nothing" if said[row] is None else repr(said[row])
    return SourceError(
        f"{path}: row {row + 1}, column {name!r}: {found} is no time; give Unix seconds, milliseconds or ISO 8601"
    )


def _numbers(path: Path, column: pl.Series) -> Floats:
    if column.dtype == pl.String:
        numbers = column.str.strip_chars().cast(pl.Float64, strict=False)
        bad = column.is_not_null() & numbers.is_null()
        if bad.any():
            row = int(bad.arg_max() or 0)
            raise SourceError(f"{path}: row {row + 1}, column {column.name!r}: {column[row]!r} is not a number")
    elif column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null):
        numbers = column.cast(pl.Float64)
    else:
        raise SourceError(f"{path}: column {column.name!r} holds {column.dtype}, not numbers")
    values = numbers.fill_null(float("nan")).to_numpy().astype(np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _said(value: Any) -> Any:
    """Return a time as it is shown: numbers as numbers, everything else as text."""
    if isinstance(value, str):
        number = _number_or_none(value)
        return value.strip() if number is None else int(number) if number == int(number) else number
    return str(value) if isinstance(value, date) else value


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
