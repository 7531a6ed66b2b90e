"""The GenAI serving trace as one ordered input, straight from its archives."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import SourceError
from ingest.alibaba_genai_2026 import GenaiSource
from ingest.checks import SOURCE_CHECKS
from tests.conftest import dataset

ONE, TWO = "086b31f81b1cf0f15e43fe568e3fb8e4", "47d94ec84e80267e738db2caca3d9184"


def archive(path: Path, **files: str) -> None:
    """Write a tar.gz with the given CSV files."""
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(f"{name}.csv")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    archive(
        tmp_path / "pod_memory_util_anon.tar.gz",
        **{
            "pod_memory_util_anon": "value,timestamp_anon,container_ip\n"
            f"0.5,120.0,{ONE}\n0.25,60.5,{TWO}\n0.5,120.0,{ONE}\n",
            "._pod_memory_util_anon": "\x00\x05 no table",
        },
    )
    archive(tmp_path / "qps.tar.gz", qps="timestamp_anon,value,container_ip,request_type\n60.0,0.09,,API Requests\n")
    archive(tmp_path / "queue_size_raw_anon.tar.gz", queue_size_raw_anon="value,container_ip,timestamp_anon\n3.0,,61\n")
    archive(tmp_path / "data_trace_processed.tar.gz", data_trace_processed="predict_type,exec_time_seconds\na,22.0\n")
    (tmp_path / "queue_rt_raw_anon.csv").write_text(f"value,container_ip,timestamp_anon\n,{ONE},62\n7,NULL,63\n")
    (tmp_path / "README.md").write_text("nothing to read")
    return tmp_path


def test_every_row_once_in_time_order_under_the_name_of_its_file(folder: Path) -> None:
    source = GenaiSource(folder)
    held = source.held()
    assert held.frame.select("ts_ms", "entity", "indicator", "value").rows() == [
        (60_000, "genai/queue/-/gateway", 'qps{request_type="API Requests"}', 0.09),
        (60_500, "genai/service/-/47d94ec84e80", "pod_memory_util", 0.25),
        (61_000, "genai/queue/-/gateway", "queue_size", 3.0),
        (63_000, "genai/queue/-/gateway", "queue_rt", 7.0),
        (120_000, "genai/service/-/086b31f81b1c", "pod_memory_util", 0.5),
    ]
    assert source.dropped == {"metrics": {"exact repeat": 1}}
    assert source.unread == {"data_trace_processed.csv": "no timestamps, so no series"}
    assert [(one.file, one.row, one.reason) for one in held.refused] == [
        ("queue_rt_raw_anon.csv", 2, "value is not a number")
    ]


@pytest.mark.parametrize("check", SOURCE_CHECKS, ids=lambda check: check.__name__)
def test_keeps_the_promises_of_a_source(folder: Path, check: Callable[[Callable[[], GenaiSource]], None]) -> None:
    check(lambda: GenaiSource(folder))


def test_rows_without_a_usable_time_or_value_are_refused_alone(folder: Path) -> None:
    rows = f"timestamp_anon,value,container_ip\nsoon,1,{ONE}\n-5,1,{ONE}\n60,much,{ONE}\n60,1\n60,8.5,{ONE}\n"
    archive(folder / "x.tar.gz", x_anon=rows)
    held = GenaiSource(folder / "x.tar.gz").held()
    assert held.frame["value"].to_list() == [8.5]
    assert sorted(one.row for one in held.refused) == [2, 3, 4, 5]


def test_a_truncated_archive_gives_the_rows_before_the_cut(folder: Path) -> None:
    rows = "timestamp_anon,value,container_ip\n" + "".join(f"{s},{s * 7919 % 1009},{ONE}\n" for s in range(3_000))
    path = folder / "long.tar.gz"
    archive(path, long_anon=rows)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    held = GenaiSource(path).held()
    assert 0 < held.frame.height < 3_000
    assert [one.row for one in held.refused] == [0]
    assert "long.tar.gz: the gzip stream ends early" in held.refused[0].reason


def test_what_is_not_the_data_set_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such folder"):
        GenaiSource(tmp_path / "nowhere")
    with pytest.raises(SourceError, match=r"holds no .tar.gz and no .csv"):
        GenaiSource(tmp_path)
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(SourceError, match="no file there has a column timestamp_anon"):
        GenaiSource(tmp_path).held()
    (tmp_path / "b.csv").write_text("timestamp_anon,y\n1,2\n")
    with pytest.raises(SourceError, match="the header lacks value"):
        GenaiSource(tmp_path).held()
    (tmp_path / "b.csv").unlink()
    (tmp_path / "b.tar.gz").write_bytes(b"no archive")
    with pytest.raises(SourceError, match="is not gzip"):
        GenaiSource(tmp_path).held()


def test_the_public_trace() -> None:
    held = GenaiSource(dataset("alibaba/genai-2026")).held()
    assert held.frame.height > 700_000
    assert held.frame["ts_ms"].is_sorted()
    assert not held.refused
