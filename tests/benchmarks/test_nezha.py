"""How a day of Nezha is scored: matching incidents to faults, the trivial alarm, the control, and a whole small run."""

from __future__ import annotations

import json
import math
from pathlib import Path

import polars as pl
import pytest

from benchmarks import nezha, nezha_stream
from benchmarks.nezha_data import Day, Fault, load_day, main_minute, shifted
from engine.errors import SourceError
from engine.types import Incident, Phase, Ranking, Severity
from tests.ingest import nezha_folder as made

MINUTE_MS = 60_000
START_MS = made.START_S * 1000
PRICE = "nezha/service/default/ts-price-service"


def opened(name: str, at_ms: int) -> list[Incident]:
    nobody = Ranking((), "nobody was asked")
    return [
        Incident(name, 1, "nezha", Phase.OPEN, Severity.WARNING, "", at_ms, at_ms, None, (), (), (), (), nobody),
    ]


def day_of(faults: list[int], spoken: list[int], minutes: int = 120) -> Day:
    """Return a day with metrics in every minute, logs in the `spoken` ones and a fault at each of the given minutes."""
    times = [START_MS + minute * MINUTE_MS for minute in range(minutes)]
    logs = pl.DataFrame({"ts_ms": [times[minute] for minute in spoken]}, schema={"ts_ms": pl.Int64})
    known = tuple(Fault(times[minute] + 5_000, PRICE, "return") for minute in faults)
    return Day("d", "tt", {"metrics": pl.DataFrame({"ts_ms": times}), "logs": logs}, {}, known, {}, 0)


def test_an_incident_counts_for_one_fault_and_only_within_five_minutes() -> None:
    faults = [Fault(START_MS + at * MINUTE_MS, PRICE, "return") for at in (0, 3, 30)]
    incidents = {
        "a": opened("a", START_MS + 4 * MINUTE_MS),
        "b": opened("b", START_MS + 8 * MINUTE_MS),
        "c": opened("c", START_MS + 36 * MINUTE_MS),
        "d": opened("d", START_MS - 1),
    }
    assert nezha_stream.match(faults, incidents) == {0: "a", 1: "b"}


def test_ranks_count_against_all_faults_and_times_only_of_the_detected() -> None:
    cases = [{"opened_s": 60.0, "rank": 1}, {"opened_s": 90.0, "rank": 3}, {"opened_s": None, "rank": None}]
    found = nezha_stream.summary(cases)
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["ac1"] == pytest.approx(1 / 3)
    assert found["ac3"] == pytest.approx(2 / 3)
    assert found["median_open_s"] == 75.0
    assert math.isnan(nezha_stream.summary([])["recall"])


def test_the_trivial_alarm_meets_what_logs_give_away() -> None:
    score = nezha_stream.score([day_of(faults=[10, 50, 90], spoken=[10, 11, 52])], [])
    assert score["trivial_recall"] == pytest.approx(2 / 3)


def test_control_times_are_clear_of_faults_and_as_many() -> None:
    day = day_of(faults=[30, 60, 90], spoken=[])
    times = nezha_stream.control_times(day)
    assert len(times) == 3
    assert all(abs(at - fault.at_ms) >= 10 * MINUTE_MS for at in times for fault in day.faults)
    assert all(at % MINUTE_MS == 0 for at in times)
    assert nezha_stream.control_times(day_of(faults=list(range(0, 120, 9)), spoken=[])) == []


def test_a_minute_is_found_and_moved_as_a_whole() -> None:
    frame = pl.DataFrame({"ts_ms": [0, 100_000, 130_000, 159_000, 170_000], "trace_id": ["a", "b", "b", "c", "d"]})
    assert main_minute({"spans": frame}) == 100_000
    moved = shifted(frame, 5_000, "x")
    assert moved["ts_ms"][1] == 105_000
    assert moved["trace_id"][1] == "b-x"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a day of 15 minutes in which the price service takes a minute longer from the tenth on."""
    folder = made.folder(tmp_path)
    day = folder / "rca_data" / made.DAY
    spans, logs, order, price = [], [], [], []
    for second in range(0, 900, 2):
        took = 1.5 if second >= 600 else 0.1 + (second % 10) / 100
        name = f"s{second}"
        spans.append(made.span(name, second, second + took + 0.1))
        spans.append(made.span(name + "c", second, second + took, parent=name, pod=made.OTHER))
        logs.append(made.log(second, f"INFO order {second} placed"))
    for minute in range(15):
        slow = minute >= 10
        order.append(made.sample(minute, 5 + minute % 3, 30 + minute % 4))
        price.append(made.sample(minute, 90 if slow else 7 + minute % 3, 30, made.OTHER))
    made.write(day / "trace" / "08_43_trace.csv.gz", made.SPAN_HEADER, spans)
    made.write(day / "log" / "08_43_log.csv.gz", made.LOG_HEADER, logs)
    made.write(day / "metric" / f"{made.POD}_metric.csv.gz", made.POD_HEADER, order)
    made.write(day / "metric" / f"{made.OTHER}_metric.csv.gz", made.POD_HEADER, price)
    fault = {"inject_time": "2023-01-29 08:52:00", "inject_pod": made.OTHER, "inject_type": "return"}
    (day / f"{made.DAY}-fault_list.json").write_text(json.dumps({"08": [fault | {"inject_timestamp": "1"}]}))
    return folder


def test_a_small_data_set_end_to_end(root: Path) -> None:
    result = nezha.run(root)
    assert {"name", "version", "data", "metrics", "cases"} <= set(result)
    assert result["metrics"]["window"]["tt"]["as1"] == 1.0
    assert result["metrics"]["stream"]["tt"]["trivial_recall"] == 1.0
    assert result["metrics"]["stream"]["tt"]["control_false"] is None
    assert [one["day"] for one in result["data"]["found"]] == [made.DAY]
    json.dumps(result, allow_nan=False)


def test_a_day_without_its_list_of_faults_is_skipped_and_said(root: Path) -> None:
    other = root / "rca_data" / "2023-01-30" / "log" / "a.csv.gz"
    made.write(other, made.LOG_HEADER, [made.log(1, "INFO x")])
    with pytest.raises(SourceError, match=r"fault_list\.json"):
        load_day(root, "2023-01-30")
    assert [one["day"] for one in nezha.run(root)["data"]["skipped"]] == ["2023-01-30"]


def test_without_data_it_says_where_they_live(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPSBRAIN_DATA", str(tmp_path))
    with pytest.raises(SourceError, match="IntelligentDDS/Nezha"):
        nezha.run(None)
