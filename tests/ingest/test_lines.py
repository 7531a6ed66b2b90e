from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from engine.errors import SourceError
from ingest.csv_file import gunzip
from ingest.lines import Lines

TEXT = b"".join(b"line %d\n" % number for number in range(50_000))
ZIPPED = gzip.compress(TEXT, mtime=0)
SPOILED = ZIPPED[: len(ZIPPED) // 2] + b"\x00\x01\x02\x03" + ZIPPED[len(ZIPPED) // 2 + 4 :]


def read(folder: Path, name: str, content: bytes, at_once: int = 777) -> tuple[list[bytes], str, bytes]:
    (folder / name).write_bytes(content)
    lines = Lines(folder / name)
    taken: list[bytes] = []
    while batch := lines.take(at_once):
        taken += batch
    lines.close()
    return taken, lines.problem, lines.torn


@pytest.mark.parametrize(
    ("name", "content", "count"),
    [
        ("plain", TEXT, 50_000),
        ("zipped.gz", ZIPPED, 50_000),
        ("zipped without the ending", ZIPPED, 50_000),
        ("two members.gz", ZIPPED + ZIPPED, 100_000),
        ("no last line end", TEXT + b"more", 50_001),
        ("nothing", b"", 0),
    ],
)
def test_gives_every_line(tmp_path: Path, name: str, content: bytes, count: int) -> None:
    taken, problem, torn = read(tmp_path, name, content)
    assert (len(taken), problem, torn) == (count, "", b"")


def test_a_cut_archive_gives_every_line_before_the_cut(tmp_path: Path) -> None:
    taken, problem, torn = read(tmp_path, "cut.gz", ZIPPED[: len(ZIPPED) // 2])
    assert len(taken) > 20_000
    assert TEXT.startswith(b"\n".join([*taken, torn]))
    assert problem == "the gzip archive is cut off"


def test_a_damaged_archive_gives_the_lines_before_the_damage_though_it_is_one_piece(tmp_path: Path) -> None:
    taken, problem, _ = read(tmp_path, "spoiled.gz", SPOILED)
    assert len(taken) > 20_000
    assert TEXT.startswith(b"\n".join(taken[:20_000]))
    assert problem == "the gzip archive is damaged"
    text, said = gunzip(SPOILED)
    assert text.startswith(b"\n".join(taken[:20_000]))
    assert "damaged" in said


def test_how_many_are_taken_at_once_makes_no_difference(tmp_path: Path) -> None:
    assert read(tmp_path, "a.gz", SPOILED, 1_000_000) == read(tmp_path, "b.gz", SPOILED, 50)


@pytest.mark.parametrize("content", [b"", b"text\n"])
def test_what_is_no_archive_is_one_line_of_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SourceError, match=r"broken\.gz: is not a gzip archive"):
        read(tmp_path, "broken.gz", content)


def test_a_missing_file_is_one_line_of_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="absent: No such file"):
        Lines(tmp_path / "absent")
