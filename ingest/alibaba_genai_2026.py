"""Alibaba's GenAI serving trace of 2026 (alibaba/clusterdata): memory, GPU, queue, latency, requests, by container.

The path is the folder with the data set's archives, or one of them; extracted CSV files are read too. A file is long:
`timestamp_anon,value` in seconds, in any order of columns, with `container_ip` (a hash) and `request_type` where it has
them. The metric is the file's name without `_raw` and `_anon`; requests of one type are an indicator of their own. Rows
without a container are of the gateway in front of all.

Files without `timestamp_anon` hold no series and are left unread with a reason. Times are shifted by the publisher and
are kept as they are. All rows are one partition `metrics`, sorted by time.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

import polars as pl

from engine.errors import SourceError
from engine.schemas import Kind
from ingest.content import content_of
from ingest.csv_file import gunzip, parse_csv, read_bytes, split_bad
from ingest.frame_reader import FrameReader, Held, Refusal
from ingest.metric_labels import indicator_of

SCOPE: Final = "genai"
RESOLUTION_MS: Final = 60_000
PARTITION: Final = "metrics"
_ARCHIVES: Final = (".tar.gz", ".tgz", ".tar")
_TABLES: Final = (".csv", ".csv.gz")
_HASH_CHARS: Final = 12  # of a container's hash: enough to tell a few hundred apart, and short enough to read
_NO_CONTAINER: Final = ("", "NULL", "None", "nan")  # how the publisher writes that there was none
_LATEST_S: Final = 4_102_444_800.0  # 2100-01-01
_GATEWAY: Final = f"{SCOPE}/queue/-/gateway"
_ORDER: Final = ("ts_ms", "entity", "indicator", "value")


class GenaiSource:
    """The trace as a source of one partition. Reads everything when it is first opened (0.7 M rows: 2 s, 300 MB).

    dropped     rows that were not used, by partition and reason
    unread      files that hold no series, with the reason

    Raises SourceError when there is nothing to read or a header is wrong.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dropped: dict[str, dict[str, int]] = {}
        self.unread: dict[str, str] = {}
        self._held: Held | None = None
        self._files = _files(path)

    @property
    def resolution_ms(self) -> int:
        """Return one minute: the step of the densest files."""
        return RESOLUTION_MS

    @property
    def scopes(self) -> tuple[str, ...]:
        """Return the one scope."""
        return (SCOPE,)

    @property
    def identity(self) -> str:
        """Return an id of the trace, by its files' names and sizes."""
        return content_of(self.path.parent if self.path.is_file() else self.path, self._files)

    def partitions(self) -> Mapping[str, Kind]:
        """Return the one partition."""
        return {PARTITION: "metrics"}

    def open(self, partition: str, offset: int = 0) -> FrameReader:
        """Return a reader that stands at `offset`; reads the files when asked first."""
        if partition != PARTITION:
            raise SourceError(f"{self.path}: has no {partition}; it has {PARTITION}")
        return FrameReader(self.held(), partition, offset)

    def held(self) -> Held:
        """Return all rows and what could not be read."""
        if self._held is None:
            self._held = self._read()
        return self._held

    def _read(self) -> Held:
        parts: list[pl.DataFrame] = []
        refused: list[Refusal] = []
        for name, content, problem in _tables(self._files):
            header = content.partition(b"\n")[0]
            if b"\n" in content and b"timestamp_anon" not in header:
                self.unread[name] = "no timestamps, so no series"
                continue
            table, bad = parse_csv(content, name, ("timestamp_anon", "value"), problem)
            part, worse = _samples(table, name)
            parts.append(part)
            refused += bad + worse
        if not parts:
            raise SourceError(f"{self.path}: no file there has a column timestamp_anon; give the data set's folder")
        samples = pl.concat(parts)
        distinct = samples.unique(maintain_order=False).sort(_ORDER, nulls_last=True)
        repeats = samples.height - distinct.height
        self.dropped = {PARTITION: {"exact repeat": repeats}} if repeats else {}
        rows = distinct.with_columns(instance=pl.lit(""), form=pl.lit("gauge"))
        return Held("metrics", rows, tuple(refused))


def _samples(table: pl.DataFrame, name: str) -> tuple[pl.DataFrame, list[Refusal]]:
    seconds = pl.col("timestamp_anon").cast(pl.Float64, strict=False)
    usable = seconds.is_between(0.0, _LATEST_S, closed="left")
    table, untimed = split_bad(table, name, ~usable, "timestamp_anon is no time")
    number = pl.col("value").cast(pl.Float64, strict=False)
    table, bad = split_bad(table, name, number.is_null(), "value is not a number")
    return (
        table.select(
            ts_ms=(seconds * 1000).round().cast(pl.Int64),
            entity=_entities(table),
            indicator=_indicators(table, name),
            value=pl.when(number.is_finite()).then(number).otherwise(float("nan")),
        ),
        [*untimed, *bad],
    )


def _entities(table: pl.DataFrame) -> pl.Series:
    """Return each row's entity. The trace has no Kubernetes names for `ingest.identity` to look at, only hashes."""
    if "container_ip" not in table.columns:
        return pl.repeat(_GATEWAY, table.height, dtype=pl.String, eager=True)
    container = pl.col("container_ip")
    nobody = container.is_null() | container.is_in(_NO_CONTAINER)
    service = pl.lit(f"{SCOPE}/service/-/") + container.str.head(_HASH_CHARS)
    return table.select(pl.when(nobody).then(pl.lit(_GATEWAY)).otherwise(service)).to_series()


def _indicators(table: pl.DataFrame, name: str) -> pl.Series:
    metric = PurePosixPath(name).name.partition(".")[0].removesuffix("_anon").removesuffix("_raw")
    if "request_type" not in table.columns:
        return pl.repeat(metric, table.height, dtype=pl.String, eager=True)
    types = table["request_type"].fill_null("")
    distinct = types.unique().sort()
    named = [indicator_of(metric, {"request_type": one} if one else {}) for one in distinct]
    return types.replace_strict(distinct, pl.Series(named, dtype=pl.String), return_dtype=pl.String)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise SourceError(f"{path}: there is no such folder; give the folder with the data set's archives")
    found = [path] if path.is_file() else sorted(path.iterdir())
    files = [one for one in found if one.name.endswith((*_ARCHIVES, *_TABLES)) and not one.name.startswith("._")]
    if not files:
        raise SourceError(f"{path}: holds no .tar.gz and no .csv; give the folder with the data set's archives")
    return files


def _tables(files: list[Path]) -> Iterator[tuple[str, bytes, str]]:
    """Yield the name and content of each table, and what is wrong with its file ("" if nothing)."""
    for path in files:
        content, problem = read_bytes(path)
        if path.name.endswith(_TABLES):
            yield path.name, content, problem
        else:
            yield from _members(path, *_untruncated(path, content, problem))


def _untruncated(path: Path, content: bytes, problem: str) -> tuple[bytes, str]:
    """Return the archive's bytes up to the damage (`read_bytes` cuts at a line's end, and an archive has none)."""
    return gunzip(path.read_bytes(), whole_lines=False) if problem else (content, problem)


def _members(path: Path, archive: bytes, problem: str) -> Iterator[tuple[str, bytes, str]]:
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            yield from _tables_of(tar, archive, f"{path.name}: {problem}" if problem else "")
    except tarfile.TarError as error:
        if not problem:
            raise SourceError(f"{path}: {error}; bring the file again") from error


def _tables_of(tar: tarfile.TarFile, archive: bytes, problem: str) -> Iterator[tuple[str, bytes, str]]:
    for member in tar:
        name = PurePosixPath(member.name).name
        if not member.isfile() or not name.endswith(".csv") or name.startswith("._"):
            continue
        content = archive[member.offset_data : member.offset_data + member.size]
        if len(content) == member.size:
            yield name, content, ""
        else:
            yield name, content[: content.rfind(b"\n") + 1], problem or "the archive ends early"
