"""The Nezha layout as three ordered inputs: each row once, and what cannot be read said by file and row."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from engine.errors import SourceError
from ingest.checks import SOURCE_CHECKS
from ingest.nezha import NezhaSource
from tests.conftest import dataset
from tests.ingest import nezha_folder as made

START_MS = made.START_S * 1000
SERVICE = "nezha/service/default/ts-order-service"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return made.folder(tmp_path)


def day(root: Path, name: str = "log") -> Path:
    return root / "rca_data" / made.DAY / name


@pytest.mark.parametrize("check", SOURCE_CHECKS, ids=lambda check: check.__name__)
def test_keeps_the_promises_of_a_source(root: Path, check: Callable[[Callable[[], NezhaSource]], None]) -> None:
    check(lambda: NezhaSource(root))


def test_logs_are_merged_in_time_order_and_repeats_dropped(root: Path) -> None:
    source = NezhaSource(root)
    rows = source.held("logs").numbered()
    assert rows["ts_ms"].to_list() == [START_MS + 250, START_MS + 1500, START_MS + 61_000]
    assert rows["offset"].to_list() == [0, 1, 2]
    assert rows["severity"].to_list() == ["error", "info", "warn"]
    assert rows["entity"].to_list() == [SERVICE, SERVICE, "nezha/service/default/ts-price-service"]
    assert rows["body"][1] == "16:42:01.5 INFO order 7 placed"
    assert rows["signature"][1] == "<*> INFO order <*> placed"
    assert source.dropped["logs"] == {"exact repeat": 1}


def test_spans_end_at_their_time_and_roots_have_no_parent(root: Path) -> None:
    rows = NezhaSource(root).held("spans").numbered()
    assert rows.select("ts_ms", "span_id", "parent_span_id", "duration_ms", "error").rows() == [
        (START_MS + 1500, "b", "a", 500.0, False),
        (START_MS + 1600, "a", None, 700.0, False),
    ]


def test_metrics_of_a_pod_go_to_its_service_and_of_a_node_to_the_node_once(root: Path) -> None:
    source = NezhaSource(root)
    rows = source.held("metrics").numbered()
    cpu = rows.filter(pl.col("indicator") == "CpuUsage(m)", pl.col("entity") == SERVICE)
    assert cpu["instance"].unique().to_list() == [made.POD]
    assert cpu["value"][0] == 1.5
    assert math.isnan(cpu["value"][1])  # an empty cell is there, without a number
    node = rows.filter(pl.col("entity") == f"nezha/node/-/{made.NODE}")
    assert node.select("ts_ms", "value").rows() == [(START_MS, 30.0), (START_MS + 60_000, 31.0)]
    assert source.dropped["metrics"] == {"node's value seen through another of its pods": 2}
    assert source.unread == {"dependency.csv.gz": "edges without a time; edges are learned from spans"}


def test_the_node_of_a_pod_that_logs_nothing_is_not_guessed(root: Path) -> None:
    silent = "ts-news-service-7d4f5b99fd-ktwc6"
    made.write(day(root, "metric") / "news.csv.gz", made.POD_HEADER, [made.sample(0, 1, 99, silent)])
    source = NezhaSource(root)
    assert 99.0 not in source.held("metrics").frame["value"].to_list()
    assert source.dropped["metrics"]["value of a node that no log line names"] == 1


def test_the_entry_and_call_edges_are_series_of_services(root: Path) -> None:
    rows = NezhaSource(root).held("metrics").frame
    names = dict(rows.filter(pl.col("instance") == "").select("indicator", "entity").iter_rows())
    assert names["LatencyP50(s)"] == "nezha/service/default/frontend"
    assert names['ClientLatencyP50(s){peer="price"}'] == "nezha/service/default/order"
    assert names['ServerLatencyP50(s){peer="order"}'] == "nezha/service/default/price"


def test_a_line_without_a_time_has_that_of_its_container_runtime(root: Path) -> None:
    made.write(day(root) / "z.csv.gz", made.LOG_HEADER, [made.log(7.5, "INFO late", nanos=-6795364578871345152)])
    assert START_MS + 7500 in NezhaSource(root).held("logs").frame["ts_ms"].to_list()


def test_a_metric_with_a_wrong_number_of_seconds_has_the_time_of_its_text(root: Path) -> None:
    row = list(made.sample(2, 7.25, 30))
    row[1] = 1_861_140_279
    made.write(day(root, "metric") / "z.csv.gz", made.POD_HEADER, [row])
    found = NezhaSource(root).held("metrics").frame.filter(pl.col("value") == 7.25)
    assert found["ts_ms"].to_list() == [START_MS + 120_000]


def test_malformed_rows_are_refused_alone_by_file_and_row(root: Path) -> None:
    good = made.write(day(root) / "08_45_log.csv.gz", made.LOG_HEADER, [made.log(130, "INFO fine")])
    bad = [
        b"one,two",
        b'x,1,n,p,c,t,s,"{""log"":"' + b'"broken" no csv',
        b"x,1674981850000000000,n,ts-a-service-5b67c48447-mv5hb,c,t,s,no json",
        b'x,soon,n,ts-a-service-5b67c48447-mv5hb,c,t,s,"{""log"":""password=hunter2 x""}"',
        b"\xff\xfe,1,n,p,c,t,s,l",
    ]
    path = day(root) / "08_45_log.csv.gz"
    path.write_bytes(gzip.compress(good + b"".join(line + b"\n" for line in bad)))
    held = NezhaSource(root).held("logs")
    assert held.frame.height == 4
    assert sorted((one.file, one.row) for one in held.refused) == [("log/08_45_log.csv.gz", row) for row in range(3, 8)]
    assert not any("hunter2" in one.body for one in held.refused)
    letters = NezhaSource(root).open("logs").next_batch()[1]  # type: ignore[index]
    assert [one.offset for one in letters] == [4, 5, 6, 7, 8]
    assert all(one.reason.startswith("log/08_45_log.csv.gz, row ") for one in letters)


def test_a_truncated_file_gives_the_rows_before_the_cut(root: Path) -> None:
    rows = [made.log(120 + second, f"INFO number {second * 7919}") for second in range(60)]
    content = made.write(day(root) / "08_46_log.csv.gz", made.LOG_HEADER, rows)
    path = day(root) / "08_46_log.csv.gz"
    path.write_bytes(gzip.compress(content)[:-40])
    held = NezhaSource(root).held("logs")
    assert 3 < held.frame.height < 63
    assert [(one.file, one.row) for one in held.refused] == [("log/08_46_log.csv.gz", 0)]
    assert "ends early" in held.refused[0].reason


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda root: root.joinpath("rca_data").rename(root / "elsewhere"), "holds no rca_data/DAY"),
        (lambda root: made.write(day(root) / "x.csv", ("a", "b"), []), "not gzip|lacks TimeUnixNano"),
        (lambda root: made.write(day(root, "metric") / "x.csv.gz", ("a", "b"), [(1, 2)]), "no metric file"),
        (lambda root: (day(root) / "x.csv.gz").write_bytes(b"plain"), "is not gzip"),
    ],
)
def test_what_is_not_the_data_set_is_one_line(root: Path, spoil: Callable[[Path], object], says: str) -> None:
    spoil(root)
    with pytest.raises(SourceError, match=says) as failure:
        source = NezhaSource(root)
        for partition in source.partitions():
            source.held(partition)
    assert "\n" not in str(failure.value)


def test_of_several_days_one_has_to_be_chosen(root: Path) -> None:
    made.write(root / "rca_data" / "2023-01-30" / "log" / "a.csv.gz", made.LOG_HEADER, [made.log(1, "INFO x")])
    with pytest.raises(SourceError, match="choose one with --day: 2023-01-29, 2023-01-30"):
        NezhaSource(root)
    assert NezhaSource(root, "2023-01-30").held("logs").frame.height == 1
    assert NezhaSource(root / "rca_data", made.DAY).held("logs").frame.height == 3
    assert NezhaSource(root / "rca_data" / made.DAY).held("logs").frame.height == 3
    with pytest.raises(SourceError, match="no day 2024-01-01; it has 2023-01-29, 2023-01-30"):
        NezhaSource(root, "2024-01-01")


def test_how_files_are_cut_and_called_makes_no_difference(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "rca_data" / made.DAY
    rows = [made.log(61, "16:43:01 WARN slow", made.OTHER), made.log(0.25, "16:42:00 ERROR order 8 failed")]
    made.write(other / "log" / "whole.csv", made.LOG_HEADER, [])
    content = made.write(
        other / "log" / "z.csv.gz", made.LOG_HEADER, [*rows, made.log(1.5, "16:42:01.5 INFO order 7 placed")]
    )
    (other / "log" / "whole.csv").write_bytes(content)
    assert NezhaSource(tmp_path / "other").held("logs").frame.equals(NezhaSource(root).held("logs").frame)


def test_the_public_day() -> None:
    source = NezhaSource(dataset("nezha"), "2022-08-22")
    for partition in ("logs", "metrics"):
        held = source.held(partition)
        assert held.frame["ts_ms"].is_sorted()
        assert held.frame.height > 10_000
        assert held.frame["ts_ms"][-1] - held.frame["ts_ms"][0] < 86_400_000
        assert not held.refused
    assert source.dropped["logs"]["exact repeat"] > 0
