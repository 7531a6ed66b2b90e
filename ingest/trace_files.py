"""Finds the files of a published trace, and reads each as chunks of whole lines, whatever its size.

A file may lie there as it is, gzipped (of one member or many), or in a tar archive, gzipped or not. What it holds is
told by its first bytes; its name, or its folder's, only says which table it belongs to. Memory is that of one chunk.
"""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

from engine.errors import SourceError
from ingest.lines import inflate

CHUNK_BYTES: Final = 4 << 20  # large enough for columns, small enough for a few of them to lie in memory
PARQUET_MAGIC: Final = b"PAR1"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_RAW_BYTES: Final = 1 << 16  # of an archive at a time: gzip unpacks to a thousand times as much at worst
_LONGEST_LINE: Final = 8  # chunks; what has no line's end for so long is no table
_ARCHIVES: Final = (".tar.gz", ".tgz", ".tar")
_ENDINGS: Final = re.compile(r"(\.(csv|json|jsonl|ndjson|parquet|tar|tgz))?(\.gz)?$", re.IGNORECASE)
_NO_DATA: Final = ("readme", "license", "_success", "schema", "sha1sum", "sha256sum", "md5sum")
_BROKEN: Final = (tarfile.TarError, EOFError, zlib.error, OSError)
NO_TABLE: Final = "belongs to no table of this trace"


@dataclass(frozen=True, slots=True)
class TraceFile:
    """One file of one table, or an archive that holds such files.

    members     of an archive: the files in it that are the table's; empty for all of them
    """

    path: Path
    name: str
    archive: bool = False
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """The files by table, in the order of their names, and the files of no table with the reason."""

    tables: Mapping[str, tuple[TraceFile, ...]]
    unread: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines; the last chunk of a damaged file says what is wrong with it."""

    content: bytes
    problem: str = ""


def find(path: Path, tables: Mapping[str, Sequence[str]]) -> Found:
    """Return the files under `path` by table; `tables` gives the names under which each table's files may go.

    Raises SourceError when there is no file of any table.
    """
    found: dict[str, list[TraceFile]] = {}
    unread: dict[str, str] = {}
    for file in _files(path):
        named = file.relative_to(path.parent if path.is_file() else path)
        known = list(_tables_in(file, named, (path.parent if path.is_file() else path).name, tables))
        for table, one in known:
            found.setdefault(table, []).append(one)
        if not known:
            unread[named.as_posix()] = NO_TABLE
    if not found:
        wanted = ", ".join(names[0] for names in tables.values())
        raise SourceError(f"{path}: holds no file of this trace; its tables are {wanted}; see docs/traces.md")
    return Found({table: tuple(files) for table, files in sorted(found.items())}, unread)


def contents(file: TraceFile) -> Iterator[tuple[str, Iterator[Chunk]]]:
    """Yield the name and the content of a file, or of each file in an archive, which is read as a stream.

    Contents come unpacked, in chunks of whole lines; of a damaged one all that is before the damage. Each is to be
    read to its end before the next one. Raises SourceError when the file cannot be opened.
    """
    if file.archive:
        yield from _archived(file)
    else:
        yield file.name, _chunks(_plain(file.path))


def _chunks(pieces: Iterable[tuple[bytes, str]]) -> Iterator[Chunk]:
    tail = b""
    problem = ""
    for text, problem in pieces:  # noqa: B007 - the last one is used below
        tail += text
        if len(tail) >= CHUNK_BYTES:
            whole, tail = _cut(tail)
            if whole:
                yield Chunk(whole)
    if problem:
        tail = tail[: tail.rfind(b"\n") + 1]
    if tail or problem:
        yield Chunk(tail, problem)


def is_parquet(file: TraceFile) -> bool:
    """Return whether the file is Parquet, by its first bytes."""
    if file.archive:
        return False
    with _opened(file.path) as opened:
        return opened.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC


def _cut(text: bytes) -> tuple[bytes, bytes]:
    end = text.rfind(b"\n") + 1
    if not end and len(text) > _LONGEST_LINE * CHUNK_BYTES:
        return text, b""
    return text[:end], text[end:]


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise SourceError(f"{path}: there is no such file or folder; give the folder with the trace's tables")
    every = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    return [one for one in every if not one.name.startswith(".")]


def _tables_in(
    file: Path, named: Path, above: str, tables: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, TraceFile]]:
    """Yield the tables that a file belongs to. An archive named after a table is only that; others are looked into."""
    table = _table_of(PurePosixPath(above, named.as_posix()), tables)
    archive = file.name.lower().endswith(_ARCHIVES)
    if table is not None:
        yield table, TraceFile(file, named.as_posix(), archive)
    elif archive:
        inside: dict[str, list[str]] = {}
        for member in _members(file):
            if (found := _table_of(PurePosixPath(member), tables)) is not None:
                inside.setdefault(found, []).append(member)
        yield from ((one, TraceFile(file, named.as_posix(), True, tuple(names))) for one, names in inside.items())


def _table_of(named: PurePosixPath, tables: Mapping[str, Sequence[str]]) -> str | None:
    """Return the table whose name the file's name, or that of a folder above it, begins with."""
    base = _ENDINGS.sub("", named.name).lower()
    if "." in base.rpartition("-")[2] or base in _NO_DATA or named.name.startswith("."):
        return None  # another ending than those of tables
    for part in (base, *(one.lower() for one in reversed(named.parts[:-1]))):
        for table, names in tables.items():
            if any(re.match(rf"{re.escape(name.lower())}(?![a-z])", part) for name in names):
                return table
    return None


def _members(path: Path) -> list[str]:
    """Return the names of an archive's files; of a damaged one those before the damage."""
    names: list[str] = []
    try:
        with tarfile.open(path, mode="r|*") as tar:
            names.extend(one.name for one in tar)
    except _BROKEN as error:
        if not names:
            raise SourceError(f"{path}: {error}; bring the file again") from error
    return names


def _plain(path: Path) -> Iterator[tuple[bytes, str]]:
    """Yield pieces of a file, unpacked where it is gzip, each with what is wrong so far."""
    with _opened(path) as file:
        packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        file.seek(0)
        pieces = iter(lambda: file.read(_RAW_BYTES if packed else CHUNK_BYTES), b"")
        yield from _inflated(pieces) if packed else ((piece, "") for piece in pieces)


def _inflated(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, str]]:
    member = zlib.decompressobj(wbits=31)
    for piece in pieces:
        raw = piece
        while raw:
            if member.eof:
                member = zlib.decompressobj(wbits=31)
            text, whole = inflate(member, raw)
            if not whole:
                yield text, "the gzip stream is damaged; the rows before the damage are used"
                return
            yield text, ""
            raw = member.unused_data
    if not member.eof:
        yield b"", "the gzip stream ends early; the rows before the cut are used"


def _archived(file: TraceFile) -> Iterator[tuple[str, Iterator[Chunk]]]:
    damaged: list[str] = []
    try:
        with tarfile.open(file.path, mode="r|*") as tar:
            for info in tar:
                wanted = info.name in file.members if file.members else _is_data(info.name)
                opened = tar.extractfile(info) if wanted else None
                if opened is not None:
                    yield f"{file.name}:{info.name}", _chunks(_member(opened, damaged))
    except _BROKEN as error:
        if not damaged:
            yield file.name, iter([Chunk(b"", _told(error))])


def _is_data(name: str) -> bool:
    base = PurePosixPath(name).name
    return not base.startswith(".") and _ENDINGS.sub("", base).lower() not in _NO_DATA


def _member(opened: IO[bytes], damaged: list[str]) -> Iterator[tuple[bytes, str]]:
    """Yield pieces of one file of an archive, and tell where it broke."""
    try:
        while piece := opened.read(_RAW_BYTES):
            yield piece, ""
    except _BROKEN as error:
        damaged.append(_told(error))
        yield b"", damaged[-1]


def _told(error: Exception) -> str:
    return f"the archive is damaged ({error}); the rows before the damage are used"


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}; check the path and its permissions") from error
