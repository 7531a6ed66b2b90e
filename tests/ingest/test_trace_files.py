"""Files of a trace are found by their names, unpacked as a stream, and read up to any damage."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from engine.errors import SourceError
from ingest import trace_files
from ingest.trace_files import TraceFile, contents, find

TABLES = {"usage": ("instance_usage",), "events": ("instance_events",), "node": ("Node",)}
LINES = b"".join(b"%d,abc\n" % number for number in range(1000))


def archive(path: Path, **members: bytes) -> None:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"./{name}.csv")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def read(path: Path, *members: str) -> tuple[bytes, str]:
    file = TraceFile(path, path.name, path.name.endswith((".tar.gz", ".tar")), members)
    found = [one for _, chunks in contents(file) for one in chunks]
    return b"".join(one.content for one in found), "".join(one.problem for one in found)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("instance_usage-000000000012.json.gz", "usage"),
        ("instance_usage.csv", "usage"),
        ("instance_usage-000000000012", "usage"),
        ("cell_a/instance_usage/part-00000-of-00500.csv.gz", "usage"),
        ("instance_usage/000000000000.parquet", "usage"),
        ("INSTANCE_EVENTS_0.CSV", "events"),
        ("instance_events/instance_usage.csv", "usage"),
        ("node/Node_0.csv", "node"),
        ("nodes.csv", None),
        ("instance_usages.csv", None),
        ("instance_usage/README.md", None),
        ("instance_usage/README", None),
        ("instance_usage/schema.csv", None),
        ("instance_usage/part-0.csv.sha256", None),
        ("my_instance_usage.csv", None),
    ],
)
def test_names_tell_the_table(tmp_path, name, table):
    for one in (name, "instance_usage-1.csv"):
        (tmp_path / one).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / one).write_bytes(LINES)
    found = find(tmp_path, TABLES)
    assert [key for key, files in found.tables.items() if name in [one.name for one in files]] == [table][
        : table is not None
    ]
    assert (name in found.unread) == (table is None)


def test_a_single_file_and_a_folder_named_after_the_table(tmp_path):
    (tmp_path / "instance_usage").mkdir()
    (tmp_path / "instance_usage" / "0000.csv").write_bytes(LINES)
    assert list(find(tmp_path / "instance_usage", TABLES).tables) == ["usage"]
    assert list(find(tmp_path / "instance_usage" / "0000.csv", TABLES).tables) == ["usage"]


def test_nothing_of_the_trace_is_one_line(tmp_path):
    (tmp_path / "other.csv").write_bytes(LINES)
    with pytest.raises(SourceError, match=r"holds no file of this trace; its tables are instance_usage"):
        find(tmp_path, TABLES)
    with pytest.raises(SourceError, match="there is no such file"):
        find(tmp_path / "gone", TABLES)


def test_archives_hold_files_of_several_tables(tmp_path):
    archive(tmp_path / "all.tar.gz", instance_usage=LINES, instance_events=b"1\n", other=b"2\n")
    archive(tmp_path / "Node.tar", part=b"3\n", more=b"4\n", README=b"5\n")
    found = find(tmp_path, TABLES).tables
    assert {table: [(one.name, one.members) for one in files] for table, files in found.items()} == {
        "usage": [("all.tar.gz", ("./instance_usage.csv",))],
        "events": [("all.tar.gz", ("./instance_events.csv",))],
        "node": [("Node.tar", ())],  # its name tells, so nobody unpacks it to look
    }
    assert read(tmp_path / "all.tar.gz", "./instance_usage.csv") == (LINES, "")
    assert read(tmp_path / "Node.tar") == (b"3\n4\n", "")


@pytest.mark.parametrize("size", [1, 100, 4_096])
def test_chunks_end_with_lines_and_lose_nothing(tmp_path, monkeypatch, size):
    monkeypatch.setattr(trace_files, "CHUNK_BYTES", size)
    plain, packed, both = tmp_path / "a.csv", tmp_path / "a.csv.gz", tmp_path / "b.gz"
    plain.write_bytes(LINES)
    packed.write_bytes(gzip.compress(LINES))
    both.write_bytes(gzip.compress(LINES[:500]) + gzip.compress(LINES[500:]))
    for path in (plain, packed, both):
        ((_, chunks),) = contents(TraceFile(path, path.name))
        found = list(chunks)
        assert b"".join(one.content for one in found) == LINES
        assert all(one.content.endswith(b"\n") for one in found)


def test_damage_costs_only_what_comes_after_it(tmp_path):
    packed = gzip.compress(LINES)
    (tmp_path / "cut.csv.gz").write_bytes(packed[: len(packed) // 2])
    content, problem = read(tmp_path / "cut.csv.gz")
    assert "ends early" in problem
    assert LINES.startswith(content) and content.endswith(b"\n")
    (tmp_path / "changed.csv.gz").write_bytes(packed[:900] + bytes(60) + packed[960:])
    content, problem = read(tmp_path / "changed.csv.gz")
    assert "damaged" in problem and content.startswith(LINES[:100])


def test_a_damaged_archive_gives_what_it_holds(tmp_path):
    noise = np.random.default_rng(0).integers(0, 10**9, 20_000)
    lines = b"".join(b"%d\n" % one for one in noise)
    for name in ("instance_usage.tar.gz", "all.tar.gz"):
        path = tmp_path / name
        archive(path, instance_usage=lines)
        raw = path.read_bytes()
        path.write_bytes(raw[: len(raw) // 2])
        (file,) = find(path, TABLES).tables["usage"]
        content, problem = read(path, *file.members)
        assert "damaged" in problem and lines.startswith(content) and len(content) > 50_000
    path.write_bytes(b"\x1f\x8bno archive")
    with pytest.raises(SourceError, match="bring the file again"):
        find(path, TABLES)


def test_a_line_without_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(trace_files, "CHUNK_BYTES", 1_000)
    (tmp_path / "a.csv").write_bytes(b"x" * 100_000)
    ((_, chunks),) = contents(TraceFile(tmp_path / "a.csv", "a.csv"))
    assert max(len(one.content) for one in chunks) <= 10_000
