"""The canonical export: what a run concluded, in files that are byte-identical for identical conclusions.

    anomalies.parquet    sorted by (start_ms, entity, indicator, id)
    incidents.jsonl      every revision, sorted by (id, revision)
    fixes.jsonl          every revision, sorted by (id, revision)
    deadletters.jsonl    sorted by (input, offset)
    summary.json         counts and versions; what may differ between two runs only under the key `run`

A message that came twice is written once. NaN is null in JSON and NaN in Parquet.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec
import numpy as np
import polars as pl

from engine.errors import SourceError
from engine.types import Anomaly, DeadLetter, Fix, Incident, Severity
from engine.values import from_json, to_json
from opsbrain import __version__

FORMAT_VERSION: Final = 1

_ANOMALY_COLUMNS: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "id": pl.String,
    "entity": pl.String,
    "indicator": pl.String,
    "form": pl.String,
    "detectors": pl.List(pl.String),
    "start_ms": pl.Int64,
    "end_ms": pl.Int64,
    "direction": pl.Int64,
    "expected_lo": pl.Float64,
    "expected_hi": pl.Float64,
    "observed": pl.Float64,
    "tail_p": pl.Float64,
    "severity": pl.String,
    "text": pl.String,
}
_ROWS_A_GROUP: Final = 262_144  # fixed, so that the bytes do not depend on how frames were put together


class Revised(Protocol):
    """What has an id and a revision."""

    @property
    def id(self) -> str: ...

    @property
    def revision(self) -> int: ...


R = TypeVar("R", bound=Revised)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Export:
    """What `read_export` gives back; every revision, in the order of the files."""

    anomalies: tuple[Anomaly, ...]
    incidents: tuple[Incident, ...]
    fixes: tuple[Fix, ...]
    deadletters: tuple[DeadLetter, ...]
    summary: dict[str, Any]


def newest(items: Iterable[R]) -> list[R]:
    """Return the newest revision of each id, sorted by id."""
    kept: dict[str, R] = {}
    for item in items:
        if item.id not in kept or kept[item.id].revision <= item.revision:
            kept[item.id] = item
    return [kept[key] for key in sorted(kept)]


def write_export(
    folder: Path,
    anomalies: Sequence[Anomaly],
    incidents: Sequence[Incident],
    fixes: Sequence[Fix],
    deadletters: Sequence[DeadLetter],
    summary: Mapping[str, Any],
) -> None:
    """Write a canonical export into `folder` (made if missing, files replaced); raise SourceError if that fails.

    `summary` is added to the counts and versions that are known here; put durations, rates and paths under its `run`.
    """
    frame = _anomaly_frame(anomalies)
    texts = {
        "incidents.jsonl": _lines(incidents, lambda one: (one.id, one.revision)),
        "fixes.jsonl": _lines(fixes, lambda one: (one.id, one.revision)),
        "deadletters.jsonl": _lines(deadletters, lambda one: (one.input, one.offset, one.part)),
        "summary.json": _summary(frame.height, incidents, fixes, deadletters, summary),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / "anomalies.parquet", lambda part: _write_parquet(frame, part))
        for name, data in texts.items():
            _replace(folder / name, partial(_write_bytes, data))
    except OSError as error:
        raise SourceError(f"{folder}: cannot write the export: {error.strerror or error}") from error


def read_export(folder: Path) -> Export:
    """Return the export in `folder`; raise SourceError that names the file and line that cannot be read."""
    return Export(
        anomalies=_read_anomalies(folder / "anomalies.parquet"),
        incidents=_read_lines(folder / "incidents.jsonl", Incident),
        fixes=_read_lines(folder / "fixes.jsonl", Fix),
        deadletters=_read_lines(folder / "deadletters.jsonl", DeadLetter),
        summary=_read_summary(folder / "summary.json"),
    )


def _anomaly_frame(anomalies: Sequence[Anomaly]) -> pl.DataFrame:
    distinct = {(one.start_ms, one.entity, one.indicator, one.id, to_json(one)): one for one in anomalies}
    ordered = [distinct[key] for key in sorted(distinct)]
    columns = {
        name: [list(one.detectors) if name == "detectors" else getattr(one, name) for one in ordered]
        for name in _ANOMALY_COLUMNS
    }
    columns["severity"] = [one.severity.value for one in ordered]
    return pl.DataFrame(columns, schema=_ANOMALY_COLUMNS)


def _lines(items: Sequence[T], key: Callable[[T], tuple[object, ...]]) -> bytes:
    """Return one line of canonical JSON an item; the line itself breaks ties, so that arrival never matters."""
    distinct = {(key(item), to_json(item)) for item in items}
    return b"".join(line + b"\n" for _, line in sorted(distinct))


def _summary(
    anomalies: int,
    incidents: Sequence[Incident],
    fixes: Sequence[Fix],
    deadletters: Sequence[DeadLetter],
    more: Mapping[str, Any],
) -> bytes:
    last_incidents, last_fixes = newest(incidents), newest(fixes)
    counts: dict[str, Any] = {
        "anomalies": anomalies,
        "incidents": len(last_incidents),
        "incidents_by_phase": Counter(one.phase.value for one in last_incidents),
        "fixes": len(last_fixes),
        "fixes_by_outcome": Counter(one.outcome.value for one in last_fixes),
        "deadletters": sum({(one.key, one.reason, one.body): one.rows for one in deadletters}.values()),
    }
    versions = {
        "opsbrain": __version__,
        "export": FORMAT_VERSION,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "polars": pl.__version__,
    }
    told = {**more, "counts": counts | dict(more.get("counts", {})), "versions": versions | more.get("versions", {})}
    return msgspec.json.format(to_json(told), indent=2) + b"\n"


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    part = path.with_name(f".{path.name}.part")
    write(part)
    os.replace(part, path)


def _write_parquet(frame: pl.DataFrame, path: Path) -> None:
    frame.rechunk().write_parquet(path, compression="zstd", compression_level=3, row_group_size=_ROWS_A_GROUP)


def _write_bytes(data: bytes, path: Path) -> None:
    path.write_bytes(data)


def _read_anomalies(path: Path) -> tuple[Anomaly, ...]:
    try:
        rows = pl.read_parquet(path, glob=False).rows(named=True)
        return tuple(
            Anomaly(**row | {"severity": Severity(row["severity"]), "detectors": tuple(row["detectors"])})
            for row in rows
        )
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (OSError, pl.exceptions.PolarsError, TypeError, KeyError, ValueError) as error:
        raise SourceError(f"{path}: not the anomalies of an export: {_first_line(error)}") from error


def _read_lines(path: Path, kind: type[T]) -> tuple[T, ...]:
    items: list[T] = []
    for number, line in enumerate(_read(path).splitlines(), start=1):
        try:
            items.append(from_json(line, kind))
        except (msgspec.DecodeError, ValueError) as error:
            raise SourceError(f"{path}:{number}: not a line of an export: {_first_line(error)}") from error
    return tuple(items)


def _read_summary(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(_read(path), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise SourceError(f"{path}: not the summary of an export: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise _missing(path) from error
    except OSError as error:
        raise SourceError(f"{path}: cannot read: {error.strerror}") from error


def _missing(path: Path) -> SourceError:
    return SourceError(f"{path}: not found; `--out` of replay or export writes such a folder")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
