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
from opsbrain.output import counted

_MISSING: Final = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
_TIME_NAMES: Final = ("timestamp", "time", "ts", "ts_ms", "datetime", "date")
_EARLIEST_MS: Final = 315_532_800_000  # 1980
_LATEST_MS: Final = 4_102_444_800_000  # 2100
_LARGEST: Final = 1e100  # nothing that is measured is larger, and what is cannot be squared
_MILLISECONDS: Final = 1e11  # above this a number is milliseconds: as seconds it would be the year 5138


@dataclass(frozen=True, slots=True)
class Table:
    """Series over time.

    names   the series, as in the header
    ms      (rows,) times in Unix milliseconds, ascending
    said    each time as it was written
    values  (rows, series), NaN where a number is missing
    notes   what was changed on reading, as sentences for people
    """

    names: tuple[str, ...]
    ms: Ints
    said: tuple[Any, ...]
    values: Floats
    notes: tuple[str, ...] = ()

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
    _refuse_doubled(path, frame.columns)
    time = _time_column(path, frame)
    names = [name for name in frame.columns if name != time]
    if not names:
        raise SourceError(f"{path}: only the time column {time!r}; expected timestamp,value or one column a series")
    said = frame[time].to_list()
    ms = _milliseconds(path, time, said)
    if len(ms) > 1 and ms.min() == ms.max():
        raise SourceError(f"{path}: column {time!r}: every row has the same time; one row a time is needed")
    order = np.argsort(ms, kind="stable")
    values = np.column_stack([_numbers(path, frame[name]) for name in names])
    notes = []
    if (np.diff(ms) < 0).any():
        notes.append("rows were not in the order of their times, and were sorted")
    with np.errstate(invalid="ignore"):
        beyond = np.abs(values) > _LARGEST
    if beyond.any():
        count = counted(int(beyond.sum()), "value")
        notes.append(f"{count} infinite or beyond {_LARGEST:g}, treated as missing")
        values[beyond] = np.nan
    return Table(tuple(names), ms[order], tuple(_said(said[at]) for at in order.tolist()), values[order], tuple(notes))


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
        if magic and path.suffix.lower() == ".parquet":
            raise SourceError(f"{path}: not Parquet; name it .csv if it is that")
        if b"\x00" in magic:
            raise SourceError(f"{path}: neither CSV nor Parquet")
        return pl.read_csv(path, infer_schema=False, null_values=list(_MISSING), glob=False)
    except pl.exceptions.NoDataError as error:
        raise SourceError(f"{path}: the file is empty") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot read: {error.strerror or _first_line(error)}") from error
    except pl.exceptions.PolarsError as error:
        raise SourceError(f"{path}: cannot read the table: {_first_line(error)}") from error


def _refuse_doubled(path: Path, columns: Sequence[str]) -> None:
    """Raise SourceError when two columns share a name; polars tells them apart by an ending of its own."""
    for name in columns:
        first, ending, number = name.rpartition("_duplicated_")
        if ending and number.isdigit() and first in columns:
            raise SourceError(f"{path}: column {first!r} is there more than once; give each series a name of its own")


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
        strange = (values < 0) | (values > _LATEST_MS / scale)  # small numbers count from a beginning of their own
        if strange.any():
            raise _strange_time(path, name, int(np.argmax(strange)), said)
        return np.rint(values * scale).astype(np.int64)
    ms = np.array([_moment(path, name, row, said) for row in range(len(said))], dtype=np.int64)
    strange = (ms < _EARLIEST_MS) | (ms > _LATEST_MS)
    if strange.any():
        raise _strange_time(path, name, int(np.argmax(strange)), said)
    return ms


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


def _strange_time(path: Path, name: str, row: int, said: Sequence[Any]) -> SourceError:
    return SourceError(
        f"{path}: row {row + 1}, column {name!r}: {said[row]} is not between 1980 and 2100;"
        " give Unix seconds, milliseconds or ISO 8601"
    )


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
    return numbers.fill_null(float("nan")).to_numpy().astype(np.float64)


def _said(value: Any) -> Any:
    """Return a time as it is shown: numbers as numbers, everything else as text."""
    if isinstance(value, str):
        number = _number_or_none(value)
        return value.strip() if number is None else int(number) if number == int(number) else number
    return str(value) if isinstance(value, date) else value


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
