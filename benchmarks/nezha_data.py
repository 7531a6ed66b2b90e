"""The Nezha data set as the benchmark needs it: days, the faults injected into them, and the fault-free minute.

What is on disk decides: any folder laid out like the public one is scored, and nothing depends on a file's name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from engine.errors import SourceError
from engine.schemas import Kind
from ingest.frame_reader import FrameReader, Held
from ingest.identity import Identity
from ingest.nezha import RESOLUTION_MS, SCOPE, NezhaSource, days, read_logs, read_spans
from ingest.scrub import Scrubber

HOME: Final = "https://github.com/IntelligentDDS/Nezha"
_DATA: Final = Path("../shared/datasets")
_TRAIN_TICKET: Final = "ts-"  # what the services of Train Ticket are called; the other system is Online Boutique


@dataclass(frozen=True, slots=True)
class Fault:
    """One injection: when, into which service, and what kind of fault."""

    at_ms: int
    entity: str
    kind: str


@dataclass(frozen=True, slots=True)
class Day:
    """One faulty day in memory.

    system      "tt" (Train Ticket) or "ob" (Online Boutique)
    frames      rows by partition, sorted by time: those of `engine.schemas`
    reference   the fault-free minute's `logs` and `spans`; empty where the data set has none
    unread      how many rows, lines or files could not be read
    """

    name: str
    system: str
    frames: Mapping[Kind, pl.DataFrame]
    reference: Mapping[Kind, pl.DataFrame]
    faults: tuple[Fault, ...]
    dropped: Mapping[str, Mapping[str, int]]
    unread: int

    @property
    def services(self) -> tuple[str, ...]:
        """Return every service that says anything."""
        names = {one for frame in self.frames.values() for one in frame["entity"].unique()}
        return tuple(sorted(one for one in names if is_service(one)))

    @property
    def bounds_ms(self) -> tuple[int, int]:
        """Return the first and last time of the metrics, or of anything where there are none."""
        frames = [self.frames["metrics"]] if "metrics" in self.frames else list(self.frames.values())
        starts, ends = [frame["ts_ms"][0] for frame in frames], [frame["ts_ms"][-1] for frame in frames]
        return int(min(starts)), int(max(ends))

    @property
    def hours(self) -> float:
        """Return how long the day is."""
        start, end = self.bounds_ms
        return (end - start) / 3_600_000


class HeldSource:
    """A source of frames in memory, one partition a kind."""

    def __init__(self, frames: Mapping[Kind, pl.DataFrame]) -> None:
        self._held = {kind: Held(kind, frame) for kind, frame in frames.items() if not frame.is_empty()}
        self.dropped: dict[str, dict[str, int]] = {}

    @property
    def resolution_ms(self) -> int:
        """Return the step of the data set."""
        return RESOLUTION_MS

    @property
    def scopes(self) -> tuple[str, ...]:
        """Return the one scope."""
        return (SCOPE,)

    def partitions(self) -> Mapping[str, Kind]:
        """Return the kinds that have rows."""
        return {kind: kind for kind in sorted(self._held)}

    def open(self, partition: str, offset: int = 0) -> FrameReader:
        """Return a reader that stands at `offset`."""
        return FrameReader(self._held[next(one for one in self._held if one == partition)], partition, offset)


def is_service(entity: str) -> bool:
    """Return whether an entity is a service, and so may be a fault's place."""
    return entity.split("/")[1] == "service"


def find(data: Path | None) -> Path:
    """Return the folder of the data set; raise SourceError, which says where to get it, when there is none."""
    if data is not None:
        return data
    folder = Path(os.environ.get("OPSBRAIN_DATA") or _DATA) / "nezha"
    if not folder.is_dir():
        raise SourceError(f"{folder}: no data set there; clone {HOME} and give its folder with --data")
    return folder


def load_day(root: Path, name: str) -> Day:
    """Return one day; raise SourceError when it has no list of faults or cannot be read."""
    source = NezhaSource(root, name)
    held = {kind: source.held(partition) for partition, kind in source.partitions().items()}
    frames: dict[Kind, pl.DataFrame] = {kind: one.frame for kind, one in held.items()}
    return Day(
        name=name,
        system=_system(frames),
        frames=frames,
        reference=_reference(root, name),
        faults=_faults(source.folder),
        dropped=source.dropped,
        unread=sum(len(one.refused) for one in held.values()),
    )


def day_names(root: Path) -> list[str]:
    """Return the days of the data set."""
    return days(root)


def shifted(frame: pl.DataFrame, by_ms: int, copy: str = "") -> pl.DataFrame:
    """Return rows moved in time; `copy` tells their traces from those of other copies."""
    moved = frame.with_columns(pl.col("ts_ms") + by_ms)
    if copy and "trace_id" in frame.columns:
        moved = moved.with_columns(pl.col("trace_id") + f"-{copy}")
    return moved


def between(frame: pl.DataFrame, from_ms: int, until_ms: int) -> pl.DataFrame:
    """Return the rows of `[from_ms, until_ms)`."""
    return frame.filter(pl.col("ts_ms").is_between(from_ms, until_ms, closed="left"))


def main_minute(frames: Mapping[Kind, pl.DataFrame]) -> int:
    """Return the start of the 60 seconds with the most rows: the minute of a file is not one of the clock."""
    times = pl.concat([frame["ts_ms"] for frame in frames.values()]).sort()
    starts = times.unique().sort()
    rows = times.search_sorted(starts + RESOLUTION_MS) - times.search_sorted(starts)
    return int(starts[int(rows.arg_max() or 0)])


def _system(frames: Mapping[Kind, pl.DataFrame]) -> str:
    names = {one.rsplit("/", 1)[1] for frame in frames.values() for one in frame["entity"].unique() if is_service(one)}
    return "tt" if any(one.startswith(_TRAIN_TICKET) for one in names) else "ob"


def _reference(root: Path, name: str) -> dict[Kind, pl.DataFrame]:
    folder = root / "construct_data" / name
    identity = Identity(SCOPE)
    found: dict[Kind, pl.DataFrame] = {}
    if (folder / "log").is_dir():
        found["logs"] = read_logs(folder, identity, Scrubber())[0].frame
    if (folder / "trace").is_dir():
        found["spans"] = read_spans(folder, identity)[0].frame
    return found


class _Entry(msgspec.Struct):
    inject_time: str
    inject_pod: str
    inject_type: str


def _faults(folder: Path) -> tuple[Fault, ...]:
    """Return the faults in order of time. `inject_time` is UTC; `inject_timestamp` is hours off on some days."""
    lists = sorted(folder.glob("*fault_list.json"))
    if not lists:
        raise SourceError(f"{folder}: holds no *fault_list.json, so there is no truth to score against")
    identity = Identity(SCOPE)
    faults: list[Fault] = []
    for path in lists:
        try:
            by_hour = msgspec.json.decode(path.read_bytes(), type=dict[str, list[_Entry]])
            for one in [one for _, entries in sorted(by_hour.items()) for one in entries]:
                at = datetime.strptime(one.inject_time, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
                faults.append(Fault(round(at.timestamp() * 1000), identity.of_pod(one.inject_pod), one.inject_type))
        except (msgspec.MsgspecError, ValueError) as error:
            raise SourceError(f"{path}: is no list of faults: {error}") from error
    return tuple(sorted(faults, key=lambda one: (one.at_ms, one.entity)))
