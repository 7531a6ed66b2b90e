"""Root causes of a wide table: columns, times, graphs, shifts, and every way in which it must not guess."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DataError, SourceError
from rca.columns import split_columns
from rca.graph_file import load_graph
from rca.shifts import shifts
from rca.wide import parse_time, rank_frame, read_frame

ROWS, ONSET = 120, 1_700_000_000 + 80 * 10
SERVICES = ("frontend", "cart-service", "checkout", "db")
CALLS = "caller,callee\nfrontend,cart-service\nfrontend,checkout\ncheckout,db\n"


def table(fault="db", seed=7, indicators=("cpu", "mem", "latency-90", "load"), rise=4.0):
    """Return a table in which `fault` uses more CPU and is slower from the onset on, and its callers wait for it."""
    noise = np.random.default_rng(seed)
    waits = {"db": ("db", "checkout", "frontend"), "cart-service": ("cart-service", "frontend")}[fault]
    columns = {"time": [1_700_000_000 + 10 * row for row in range(ROWS)]}
    for service in SERVICES:
        for indicator in indicators:
            values = 10.0 + noise.normal(0.0, 0.3, ROWS)
            if indicator == "latency-90" and service in waits:
                values[80:] += rise * 2
            if indicator == "cpu" and service == fault:
                values[80:] += rise
            columns[f"{service}_{indicator}"] = list(values)
    return pl.DataFrame(columns)


def graph_of(tmp_path, text=CALLS, name="graph"):
    path = tmp_path / name
    path.write_text(text)
    return load_graph(path)


def names(answer):
    return [one["entity"] for one in answer["ranking"]]


@pytest.mark.parametrize("fault", ["db", "cart-service"])
def test_the_faulty_service_comes_first(fault, tmp_path):
    with_graph = rank_frame(table(fault), ONSET, graph_of(tmp_path))
    without = rank_frame(table(fault), ONSET)
    assert names(with_graph)[0] == names(without)[0] == fault
    assert with_graph["abstained"] is None
    evidence = with_graph["ranking"][0]["evidence"]
    assert {one["indicator"] for one in evidence} >= {"cpu", "latency-90"}
    assert evidence[0].keys() == {"indicator", "kind", "direction", "strength", "at"}
    assert all(one["at"] >= ONSET for one in evidence if one["kind"] == "metric")


def test_neither_the_order_of_columns_nor_that_of_rows_decides(tmp_path):
    frame, graph = table(), graph_of(tmp_path)
    turned = frame.select(["time", *reversed(frame.columns[1:])]).reverse()
    assert rank_frame(turned, ONSET, graph) == rank_frame(frame, ONSET, graph)


def test_the_time_column_may_be_seconds_milliseconds_or_iso_and_is_answered_as_written():
    seconds = table()
    millis = seconds.with_columns(pl.col("time") * 1000)
    iso = seconds.with_columns(pl.from_epoch("time", time_unit="s").dt.strftime("%Y-%m-%dT%H:%M:%S"))
    stamped = seconds.with_columns(pl.from_epoch("time", time_unit="s"))
    expected = names(rank_frame(seconds, ONSET))
    for frame, onset in ((millis, ONSET * 1000), (iso, "2023-11-14T22:26:40Z"), (stamped, ONSET), (iso, ONSET)):
        assert names(rank_frame(frame, onset)) == expected
    at = rank_frame(iso, ONSET)["ranking"][0]["evidence"][0]["at"]
    assert at.startswith("2023-11-14T22:2")


def test_it_abstains_rather_than_guess(tmp_path):
    frame = table()
    for onset, why in ((0, "only 0 rows lie before"), (ONSET * 2, "no row lies at or after")):
        answer = rank_frame(frame, onset, graph_of(tmp_path))
        assert answer["ranking"] == []
        assert why in answer["abstained"]
    constant = frame.with_columns(pl.lit(1.0).alias(name) for name in frame.columns[1:])
    assert rank_frame(constant, ONSET)["ranking"] == []
    empty = frame.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in frame.columns[1:])
    assert "no column moved" in rank_frame(empty, ONSET)["abstained"]
    text = frame.with_columns(pl.lit("x").alias(name) for name in frame.columns[1:])
    assert "no column moved" in rank_frame(text, ONSET)["abstained"]


def test_gaps_and_infinities_are_tolerated():
    frame = table().with_columns(
        pl.when(pl.col("time") % 3 == 0).then(None).otherwise(pl.col("db_cpu")).alias("db_cpu"),
        pl.lit(float("inf")).alias("checkout_mem"),
    )
    assert names(rank_frame(frame, ONSET))[0] == "db"


@pytest.mark.parametrize(
    ("frame", "onset", "says"),
    [
        (pl.DataFrame({"time": [1, 2, 3], "value": [1, 2, 3]}), 2, "no column is named <entity>_<indicator>"),
        (pl.DataFrame({"name": ["a", "b"], "a_cpu": [1, 2]}), 2, "no time column"),
        (pl.DataFrame({"time": [1, None], "a_cpu": [1, 2]}), 2, "has no time"),
        (pl.DataFrame({"time": ["soon", "later"], "a_cpu": [1, 2]}), 2, "'soon' is no time"),
        (pl.DataFrame({"time": [1, 2], "a_cpu": [1, 2]}), "tomorrow", "'tomorrow' is no time"),
        (pl.DataFrame(), 2, "no columns"),
    ],
)
def test_what_is_no_table_is_one_clear_error(frame, onset, says):
    with pytest.raises(DataError, match=says):
        rank_frame(frame, onset)


def test_files_are_told_apart_by_content(tmp_path):
    frame = table()
    frame.write_csv(tmp_path / "a.data")
    frame.write_parquet(tmp_path / "b.data")
    assert read_frame(tmp_path / "a.data").shape == read_frame(tmp_path / "b.data").shape
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "half").write_bytes(b"PAR1xxxx")
    for name in ("empty", "half", "missing"):
        with pytest.raises(SourceError, match=name):
            read_frame(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1700000000", 1.7e12),
        ("1700000000000", 1.7e12),
        ("2023-11-14T22:13:20Z", 1.7e12),
        ("2023-11-14 22:13:20", 1.7e12),
        ("2023-11-14T23:13:20+01:00", 1.7e12),
    ],
)
def test_times_are_read(text, milliseconds):
    assert parse_time(text) == milliseconds


# Columns.


@pytest.mark.parametrize(
    ("columns", "entities", "column", "split"),
    [
        (["cartservice_cpu", "adservice_cpu"], (), "cartservice_cpu", ("cartservice", "cpu")),
        (["ts-auth-service_latency-50"], (), "ts-auth-service_latency-50", ("ts-auth-service", "latency-50")),
        (["a_client_latency_p99", "b_latency_p99"], (), "a_client_latency_p99", ("a_client", "latency_p99")),
        (["my_queue_latency", "cart_latency", "x_latency"], (), "my_queue_latency", ("my_queue", "latency")),
        (["load_gen_cpu", "cart_cpu"], (), "load_gen_cpu", ("load_gen", "cpu")),
        (["a_b_c_cpu"], ("a_b",), "a_b_c_cpu", ("a_b", "c_cpu")),
        (["a_b_weird", "c_weird"], (), "a_b_weird", ("a_b", "weird")),
        (["cart_service_weird", "db_service_weird"], (), "db_service_weird", ("db_service", "weird")),
        (["db_container_cpu_pct", "a_container_cpu_pct"], (), "db_container_cpu_pct", ("db", "container_cpu_pct")),
    ],
)  # fmt: skip
def test_columns_are_split_by_what_they_share(columns, entities, column, split):
    assert split_columns(columns, entities)[column] == split


@given(st.lists(st.text(alphabet="ab_", max_size=6), max_size=6))
def test_every_split_puts_the_column_together_again(columns):
    for column, (entity, indicator) in split_columns(columns).items():
        assert f"{entity}_{indicator}" == column
        assert entity and indicator


# Graph files.


@pytest.mark.parametrize(
    "text",
    [
        CALLS,
        "frontend,cart-service\nfrontend,checkout\ncheckout,db\n",
        ",frontend,cart-service,checkout,db\nfrontend,0,1.0,1,0\ncart-service,0,0,0,0\ncheckout,0,0,,2\ndb,0,0,0,0\n",
        json.dumps({"edges": [["frontend", "cart-service"], ["frontend", "checkout"], ["checkout", "db"]]}),
        json.dumps(
            {
                "directed": True,
                "nodes": [{"id": name} for name in SERVICES],
                "links": [
                    {"source": "frontend", "target": "cart-service"},
                    {"source": "frontend", "target": "checkout"},
                    {"source": "checkout", "target": "db"},
                ],
            }
        ),
        "\ufeffsource,target,weight\nfrontend,cart-service,1\nfrontend,checkout,1\ncheckout,db,1\n",
    ],
    ids=["edges with header", "edges", "adjacency", "pairs", "node-link", "weights and a byte order mark"],
)
def test_graphs_are_told_apart_by_content(text, tmp_path):
    graph = graph_of(tmp_path, text)
    assert sorted(graph.edges) == [("checkout", "db"), ("frontend", "cart-service"), ("frontend", "checkout")]


def test_numbers_can_be_names(tmp_path):
    assert sorted(graph_of(tmp_path, "1,2\n2,3\n").edges) == [("1", "2"), ("2", "3")]


@pytest.mark.parametrize(
    "text",
    ["", "one", "a,\n", "{", '{"nodes": 3}', '{"edges": [1]}', '{"edges": [[{}, "a"]]}', ",a,a\na,0,1\na,0,0\n"],
)
def test_what_is_no_graph_is_one_clear_error(text, tmp_path):
    with pytest.raises(SourceError, match="graph"):
        graph_of(tmp_path, text)


def test_a_missing_or_binary_graph_is_one_clear_error(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x01")
    for name in ("missing", "binary"):
        with pytest.raises(SourceError, match=f"{name}: cannot read the graph"):
            load_graph(tmp_path / name)


# Shifts.


def shift_of(values, until, after=None):
    column = np.array(values, dtype=float).reshape(-1, 1)
    found = shifts(["x"], column, until, until if after is None else after, np.zeros(1, dtype=np.int64))
    return found[0] if found else None


def test_a_step_is_a_shift_with_its_beginning_and_direction():
    noise = list(np.random.default_rng(1).normal(10, 1, 40))
    up = shift_of(noise + [30.0] * 10, 40)
    down = shift_of(noise + [-10.0] * 10, 40)
    assert (up.direction, up.at, down.direction) == (1, 40, -1)
    assert up.tail_p < 1e-3
    assert shift_of(noise + noise[:10], 40).tail_p > 0.02


def test_one_wild_row_among_many_is_no_shift():
    noise = list(np.random.default_rng(1).normal(10, 1, 80))
    noise[60] = 1000.0
    assert shift_of(noise, 40).tail_p > 0.01


def test_the_level_is_that_of_the_rows_just_before():
    drift = [float(row) for row in range(100)]
    assert shift_of(drift, 90).tail_p > shift_of(drift[:90] + [300.0] * 10, 90).tail_p
    last_week, now = [100.0, 101.0] * 20, [10.0, 11.0] * 5
    assert shift_of(last_week + now + [10.5] * 5, 50).tail_p > 0.1


def test_what_is_not_ready_shows_nothing():
    nan = float("nan")
    assert shift_of([nan] * 10 + [1.0] * 5, 10) is None
    assert shift_of([1.0, nan, nan, nan, 5.0], 4) is None
    assert shift_of([1.0] * 10 + [nan] * 5, 10) is None
    assert shift_of([0.0] * 15, 10) is None


# Public data.


def petshop():
    root = Path(os.environ.get("OPSBRAIN_DATA", Path(__file__).parents[3] / "shared" / "datasets")) / "petshop"
    if not root.is_dir():
        pytest.skip(f"no PetShop data in {root} (amazon-science/petshop-root-cause-analysis)")
    return root


def wide(path):
    rows = list(csv.reader(path.open()))
    titles = [f"{entity}_{metric}_{statistic}" for entity, metric, statistic in zip(*rows[:3], strict=True)]
    body = [row for row in rows[3:] if row and row[0].replace(".", "").isdigit()]
    columns = {"timestamp": [float(row[0]) for row in body]}
    columns |= {
        title: [float(row[place]) if row[place] else None for row in body]
        for place, title in enumerate(titles)
        if place
    }
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.Float64))


def test_petshop_is_ranked_better_than_by_luck():
    root = petshop()
    found, cases = 0, sorted(root.glob("*/train/issue_*"))
    for case in cases:
        target = json.loads((case / "target.json").read_text())
        graph = load_graph(case.parent.parent / "graph.csv")
        answer = rank_frame(wide(case / "metrics.csv"), target["target"]["timestamp"], graph)
        found += target["root_cause"]["node"] in names(answer)[:3]
    assert found >= len(cases) // 3  # three of some forty nodes named by luck would find one in fourteen
