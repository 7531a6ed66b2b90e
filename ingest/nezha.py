"""The Nezha data set (IntelligentDDS/Nezha): a day of logs, spans and metrics of a micro-service system under faults.

Layout: `rca_data/DAY/{log,trace,metric}`, CSV files, gzipped or not; `construct_data/DAY/{log,trace}` holds one
fault-free minute (its metric files repeat the faulty day's and are not read). The path may be the data set, its
`rca_data`, or one day's folder. Files of a kind are merged in event-time order into one partition, whose offsets are
the row numbers of the merged stream; rows that several files repeat are dropped and counted in `dropped`.

- Times are UTC. A span's time is its end.
- A pod's rows go to its service. Columns `Node...` go to the node on which the log lines place the pod, once a node and
  minute; the node of a pod that logs nothing is unknown, and its columns are dropped and counted.
- `front_service`: what users of the entry see, by `ServiceName`. `source_*` and `destination_*`: latency of call edges.
- `dependency`: edges without a time; not read, since edges are learned from spans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

import polars as pl

from engine.errors import SourceError
from engine.schemas import Kind
from ingest import nezha_rows as rows
from ingest.content import content_of
from ingest.csv_file import read_csv
from ingest.frame_reader import FrameReader, Held, Refusal
from ingest.identity import Identity
from ingest.scrub import Scrubber

SCOPE: Final = "nezha"
RESOLUTION_MS: Final = 60_000
_FOLDERS: Final[dict[Kind, str]] = {"logs": "log", "spans": "trace", "metrics": "metric"}


class NezhaSource:
    """One faulty day as a source of three partitions: `logs`, `metrics`, `spans`.

    Reads a partition whole when it is first opened (the public day: 10 s, 1 GB at most). Raises SourceError when the
    folder is not laid out like the data set, when a file's header is wrong, or when there are several days and none
    is named.

    dropped     rows that were not used, by partition and reason
    unread      files that hold no telemetry, with the reason
    scrubber    takes secrets out of log lines, and counts them
    """

    def __init__(self, path: Path, day: str | None = None) -> None:
        self.folder = day_folder(path, day)
        self.day = self.folder.name
        self.dropped: dict[str, dict[str, int]] = {}
        self.unread: dict[str, str] = {}
        self.scrubber = Scrubber()
        self._identity = Identity(SCOPE, clean=self.scrubber.name)
        self._held: dict[str, Held] = {}

    @property
    def resolution_ms(self) -> int:
        """Return one minute: the step of the metric files."""
        return RESOLUTION_MS

    @property
    def scopes(self) -> tuple[str, ...]:
        """Return the one scope."""
        return (SCOPE,)

    @property
    def identity(self) -> str:
        """Return an id of the day, by its files' names and sizes."""
        files = [one for name in _FOLDERS.values() for one in _files(self.folder / name)]
        return content_of(self.folder, files, self.day)

    def partitions(self) -> Mapping[str, Kind]:
        """Return the partitions for which there are files."""
        return {kind: kind for kind in sorted(_FOLDERS) if _files(self.folder / _FOLDERS[kind])}

    def open(self, partition: str, offset: int = 0) -> FrameReader:
        """Return a reader that stands at `offset`; reads the files when asked first."""
        return FrameReader(self.held(partition), partition, offset)

    def held(self, partition: str) -> Held:
        """Return a partition's rows and what could not be read."""
        if partition not in self.partitions():
            raise SourceError(f"{self.folder}: has no {partition}; it has {', '.join(self.partitions())}")
        if partition not in self._held:
            held, dropped = self._read(partition)
            self._held[partition] = held
            self.dropped[partition] = {reason: count for reason, count in dropped.items() if count}
        return self._held[partition]

    def _read(self, partition: str) -> tuple[Held, dict[str, int]]:
        if partition == "logs":
            return read_logs(self.folder, self._identity, self.scrubber)
        if partition == "spans":
            return read_spans(self.folder, self._identity)
        return self._metrics()

    def _metrics(self) -> tuple[Held, dict[str, int]]:
        pods: list[pl.DataFrame] = []
        fronts: list[pl.DataFrame] = []
        edges: dict[str, list[pl.DataFrame]] = {"source": [], "destination": []}
        refused: list[Refusal] = []
        for path in _files(self.folder / _FOLDERS["metrics"]):
            table, bad = _table(path)
            refused += bad
            side = path.name.partition("_")[0]
            if "PodName" in table.columns:
                pods.append(table)
            elif "ServiceName" in table.columns:
                fronts.append(table)
            elif side in edges and "timestamp" in table.columns:
                edges[side].append(table)
            elif {"Source", "Target"} <= set(table.columns):
                self.unread[path.name] = "edges without a time; edges are learned from spans"
            elif not bad:
                raise SourceError(f"{path}: the header names neither PodName nor ServiceName; it is no metric file")
        held, dropped = rows.metrics(pods, fronts, edges, self._placement, self._identity)
        return Held("metrics", held.frame, (*refused, *held.refused)), dropped

    @cached_property
    def _placement(self) -> dict[str, str]:
        """Return the node of each pod that logged; reads two columns of the log files only."""
        tables = [
            _table(path, rows.LOG_COLUMNS)[0].select("PodName", "Node").unique()
            for path in _files(self.folder / _FOLDERS["logs"])
        ]
        return rows.placement(pl.concat(tables)) if tables else {}


def read_logs(folder: Path, identity: Identity, scrubber: Scrubber) -> tuple[Held, dict[str, int]]:
    """Return the log rows of a day's folder and how many were dropped, by reason."""
    table, refused = _tables(folder / _FOLDERS["logs"], rows.LOG_COLUMNS)
    held, dropped = rows.logs(table, identity, scrubber)
    return Held("logs", held.frame, (*refused, *held.refused)), dropped


def read_spans(folder: Path, identity: Identity) -> tuple[Held, dict[str, int]]:
    """Return the spans of a day's folder and how many were dropped, by reason."""
    table, refused = _tables(folder / _FOLDERS["spans"], rows.SPAN_COLUMNS)
    held, dropped = rows.spans(table, identity)
    return Held("spans", held.frame, (*refused, *held.refused)), dropped


def days(path: Path) -> list[str]:
    """Return the days that a data set holds."""
    root = path / "rca_data" if (path / "rca_data").is_dir() else path
    if not root.is_dir():
        raise SourceError(f"{path}: there is no such folder; give the folder of the data set, which holds rca_data/DAY")
    return sorted(one.name for one in root.iterdir() if _is_day(one))


def day_folder(path: Path, day: str | None = None) -> Path:
    """Return the folder of the day that is asked for, or of the only day; raise SourceError when there is none such."""
    if _is_day(path) and day in (None, path.name):
        return path
    names = days(path)
    if not names:
        raise SourceError(f"{path}: holds no rca_data/DAY with log, trace or metric; give the folder of the data set")
    if day is None and len(names) > 1:
        raise SourceError(f"{path}: holds several days; choose one with --day: {', '.join(names)}")
    chosen = day or names[0]
    if chosen not in names:
        raise SourceError(f"{path}: holds no day {chosen}; it has {', '.join(names)}")
    return (path / "rca_data" if (path / "rca_data").is_dir() else path) / chosen


def _is_day(folder: Path) -> bool:
    return folder.is_dir() and any(_files(folder / name) for name in _FOLDERS.values())


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = (one for one in folder.iterdir() if one.name.endswith((".csv", ".csv.gz")))
    return sorted(one for one in found if not one.name.startswith("."))


def _table(path: Path, needed: Sequence[str] = ()) -> tuple[pl.DataFrame, list[Refusal]]:
    name = f"{path.parent.name}/{path.name}"
    table, refused = read_csv(path, name, needed)
    return table.with_columns(file=pl.lit(name)), refused


def _tables(folder: Path, needed: Sequence[str]) -> tuple[pl.DataFrame, list[Refusal]]:
    columns = [*needed, "file", "row"]
    parts: list[pl.DataFrame] = []
    refused: list[Refusal] = []
    for path in _files(folder):
        table, bad = _table(path, needed)
        parts.append(table.select(columns))
        refused += bad
    return pl.concat(parts), refused
