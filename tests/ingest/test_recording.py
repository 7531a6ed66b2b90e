"""Recordings: read to the end, resumed anywhere, and clear about what is broken."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ConfigError, SourceError
from ingest import checks
from ingest.identity import Identity
from ingest.lines import Lines
from ingest.recording import MessageReader, Recording
from ingest.registry import format_of, source

SHIPPED = Path(__file__).resolve().parents[2] / "opsbrain" / "recordings" / "checkout-lock"
INPUTS = {
    "logs": ("logs", "fluentbit"),
    "metrics": ("metrics", "prometheus-adapter"),
}


def sample(number: int) -> bytes:
    second = f"{number // 60:02d}:{number % 60:02d}"
    labels = {"__name__": "up", "pod": "store-77tk444p6s-2jpfw", "namespace": "shop"}
    return json.dumps({"timestamp": f"2026-01-01T00:{second}Z", "value": str(number), "labels": labels}).encode()


def line(number: int) -> bytes:
    kubernetes = {"pod_name": "store-77tk444p6s-2jpfw", "namespace_name": "shop"}
    return json.dumps({"date": 1_767_225_600 + number, "log": f"line {number}", "kubernetes": kubernetes}).encode()


def write(folder: Path, changed: dict[str, Any] | None = None, lines: int = 100) -> Path:
    files = {"logs": "logs.jsonl.gz", "metrics": "metrics.jsonl"}
    inputs = [{"name": n, "kind": k, "format": f, "file": files[n]} for n, (k, f) in INPUTS.items()]
    manifest = {
        "format": "opsbrain-recording",
        "version": 1,
        "scope": "demo",
        "resolution_ms": 10_000,
        "inputs": inputs,
    }
    (folder / "recording.json").write_text(json.dumps(manifest | (changed or {})))
    (folder / "logs.jsonl.gz").write_bytes(gzip.compress(b"".join(line(n) + b"\n" for n in range(lines))))
    (folder / "metrics.jsonl").write_bytes(b"\n".join(sample(n) for n in range(lines)))  # no end of line at the end
    return folder


def recording(folder: Path) -> Recording:
    return Recording(folder, format_of)


def test_reads_every_line(tmp_path: Path) -> None:
    mine = recording(write(tmp_path))
    assert (mine.scopes, mine.resolution_ms) == (("demo",), 10_000)
    assert mine.partitions() == {"logs": "logs", "metrics": "metrics"}
    for partition in mine.partitions():
        got = checks.read(mine.open(partition))
        assert got.frame["offset"].to_list() == list(range(100))
        assert got.frame["entity"].unique().to_list() == ["demo/service/shop/store"]
        assert not got.letters


@pytest.mark.parametrize("check", checks.SOURCE_CHECKS, ids=lambda check: check.__name__)
def test_conforms(tmp_path: Path, check: Any) -> None:
    write(tmp_path)
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b"\nnot json\n" + sample(7))
    check(lambda: recording(tmp_path))


def test_batches_do_not_matter(tmp_path: Path) -> None:
    write(tmp_path)
    file, wire = tmp_path / "logs.jsonl.gz", format_of("fluentbit", Identity("demo"))
    whole = checks.read(MessageReader(file, wire, "logs"))
    for lines in (1, 7, 100, 101):
        for offset in (0, 50, 99, 100, 101):
            some = checks.read(MessageReader(file, wire, "logs", offset, batch_lines=lines))
            assert some.frame["offset"].to_list() == whole.frame["offset"].to_list()[offset:]
            assert not some.letters


def test_a_malformed_line_is_a_dead_letter_with_its_position(tmp_path: Path) -> None:
    write(tmp_path, lines=3)
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join((sample(0), b'{"password":"hunter2"', sample(2), b"")))
    got = checks.read(recording(tmp_path).open("metrics"))
    assert got.frame["offset"].to_list() == [0, 2]
    (letter,) = got.letters
    assert (letter.input, letter.offset) == ("metrics", 1)
    assert letter.reason
    assert "hunter2" not in letter.body


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_truncated_archive_gives_what_is_whole_and_names_the_cut(tmp_path: Path, share: float) -> None:
    write(tmp_path, lines=2_000)
    file = tmp_path / "logs.jsonl.gz"
    raw = file.read_bytes()
    file.write_bytes(raw[: int(len(raw) * share)])
    got = checks.read(recording(tmp_path).open("logs"))
    rows = got.frame.height
    assert got.frame["offset"].to_list() == list(range(rows))
    assert 2_000 * share * 0.5 < rows < 2_000
    (letter,) = got.letters
    assert letter.offset == rows
    assert "logs.jsonl.gz" in letter.reason
    assert "cut" in letter.reason
    for check in checks.SOURCE_CHECKS:
        check(lambda: recording(tmp_path))


def test_a_damaged_archive_gives_what_lies_before_the_damage(tmp_path: Path) -> None:
    write(tmp_path, lines=2_000)
    file = tmp_path / "logs.jsonl.gz"
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 50] = b"\xff" * 50
    file.write_bytes(raw)
    got = checks.read(recording(tmp_path).open("logs"))
    assert got.letters
    assert "damaged" in got.letters[-1].reason


def test_archives_of_several_members_are_read_on(tmp_path: Path) -> None:
    file = tmp_path / "a.gz"
    file.write_bytes(gzip.compress(b"one\ntwo\nth") + gzip.compress(b"ree\n"))
    assert Lines(file).take(10) == [b"one", b"two", b"three"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"format": "other"}, "format is 'other'"),
        ({"version": 2}, "version is 2"),
        ({"scope": "a/b"}, "scope"),
        ({"scope": ""}, "scope"),
        ({"resolution_ms": 0}, "resolution_ms"),
        ({"resolution_ms": "x"}, "resolution_ms"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [{"name": "a", "kind": "logs", "format": "fluentbit", "file": "../x"}]}, "outside"),
        ({"inputs": [{"name": "a", "kind": "logs", "format": "nope", "file": "x"}]}, "fluentbit"),
        ({"inputs": [{"name": "a", "kind": "spans", "format": "fluentbit", "file": "x"}]}, "kind 'spans'"),
        ({"inputs": [{"name": "a", "kind": "music", "format": "fluentbit", "file": "x"}]}, "music"),
        ({"inputs": [{"name": "a", "kind": "logs", "format": "fluentbit", "file": "gone.jsonl"}]}, "gone.jsonl"),
    ],
)
def test_a_broken_manifest_is_one_clear_line(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    write(tmp_path, changed)
    with pytest.raises(SourceError) as raised:
        recording(tmp_path)
    assert said in str(raised.value)
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"[" * 100_000])
def test_an_unreadable_manifest_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    write(tmp_path)
    (tmp_path / "recording.json").write_bytes(content)
    with pytest.raises(SourceError, match=r"recording\.json"):
        recording(tmp_path)


def test_missing_folder_manifest_and_input(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere"):
        source("opsbrain", tmp_path / "nowhere")
    with pytest.raises(SourceError, match=r"recording\.json"):
        source("opsbrain", tmp_path)
    with pytest.raises(SourceError, match="logs, metrics"):
        recording(write(tmp_path)).open("other")
    (tmp_path / "logs.jsonl.gz").write_bytes(b"plain text")
    with pytest.raises(SourceError, match="gzip"):
        recording(tmp_path)


def test_names_are_listed_when_one_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fluentbit, prometheus-adapter"):
        format_of("fluentd", Identity())
    with pytest.raises(ConfigError, match="opsbrain, nezha, alibaba-genai-2026"):
        source("other", tmp_path)
    with pytest.raises(ConfigError, match="day"):
        source("opsbrain", write(tmp_path), "2022-08-22")


def test_the_shipped_recording_has_no_dead_letter_and_one_entity_a_service() -> None:
    mine = source("opsbrain", SHIPPED)
    services = {"gateway", "orders", "payments", "inventory", "store"}
    nodes = {"demo/node/-/shop-node-1", "demo/node/-/shop-node-2"}
    expected = {f"demo/service/shop/{name}" for name in services}
    for partition in mine.partitions():
        got = checks.read(mine.open(partition))
        assert not got.letters
        assert set(got.frame["entity"].unique()) - nodes == expected


def test_what_is_recorded_has_an_identity_wherever_it_lies(tmp_path: Path) -> None:
    for name in ("one", "copy", "longer", "renamed"):
        (tmp_path / name).mkdir()
    one = recording(write(tmp_path / "one")).identity
    assert recording(write(tmp_path / "copy")).identity == one
    assert recording(write(tmp_path / "longer", lines=101)).identity != one
    assert recording(write(tmp_path / "renamed", {"scope": "other"})).identity != one


@pytest.mark.parametrize("link", ["file", "folder"])
def test_a_link_to_the_outside_is_refused(tmp_path: Path, link: str) -> None:
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    inner.mkdir()
    outer.mkdir()
    write(inner)
    (outer / "logs.jsonl.gz").write_bytes((inner / "logs.jsonl.gz").read_bytes())
    if link == "file":
        (inner / "logs.jsonl.gz").unlink()
        (inner / "logs.jsonl.gz").symlink_to(outer / "logs.jsonl.gz")
    else:
        (inner / "sub").symlink_to(outer)
        inputs = [{"name": "logs", "kind": "logs", "format": "fluentbit", "file": "sub/logs.jsonl.gz"}]
        write(inner, {"inputs": inputs})
    with pytest.raises(SourceError, match="leads outside the recording's folder; copy it in"):
        recording(inner)


def test_a_link_within_and_a_link_to_the_folder_are_followed(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    write(inner)
    (inner / "logs.jsonl.gz").rename(inner / "kept.gz")
    (inner / "logs.jsonl.gz").symlink_to("kept.gz")
    (tmp_path / "link").symlink_to(inner)
    assert recording(tmp_path / "link").partitions()
