"""What `bench throughput`, `latency` and `soak` make of what they measured."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import throughput
from benchmarks.latency import metrics_of
from benchmarks.live import latencies_ms
from benchmarks.live_receiver import Heard
from benchmarks.processes import cpu_s, peak_rss_mb, rss_mb
from benchmarks.soak import drift, file_bytes, growth
from benchmarks.throughput_cases import Sizes
from engine.errors import SourceError

FOUND = {
    "main": {"rate": 400_000.0, "peak_rss_mb": 700.0},
    "floor": {"rate": 800_000.0},
    "peers": {
        "one": {"rate": 100_000.0, "skipped": ""},
        "two": {"rate": 50_000.0, "skipped": ""},
        "three": {"rate": float("nan"), "skipped": "not installed: no wheel"},
    },
    "even": {"rate": 420_000.0},
    "many": {"rate": 380_000.0, "peak_rss_mb": 3_000.0},
    "logs": {"rate": 120_000.0, "ratio_drain3": 6.0, "drain3": {"rate": 20_000.0}},
}


def test_ratios_are_to_the_floor_and_to_the_best_of_the_peers_that_ran() -> None:
    metrics = throughput.metrics_of(FOUND)
    assert metrics["kafka_samples_per_core_s"] == 400_000
    assert metrics["ratio_floor"] == 0.5
    assert (metrics["best_peer"], metrics["ratio_best_peer"]) == ("one", 4.0)
    assert metrics["three_skipped"] == "not installed: no wheel"
    assert metrics["peak_rss_mb"] == 3_000
    assert metrics["cost_spread"] == pytest.approx(420 / 380 - 1, abs=1e-3)
    assert "cost_spread_plain" not in metrics  # that case did not run


def test_cases_and_sizes_that_are_not_known_are_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSBRAIN_BENCH_CASES", "main,all")
    with pytest.raises(SourceError, match="no case 'all'"):
        throughput.run(None)
    monkeypatch.setenv("OPSBRAIN_BENCH_SERIES", "many")
    with pytest.raises(SourceError, match="whole numbers"):
        Sizes.from_environment()


def test_sizes_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSBRAIN_BENCH_SERIES", "50")
    assert Sizes.from_environment() == Sizes(series=50)
    monkeypatch.setenv("OPSBRAIN_BENCH_QUICK", "1")
    assert Sizes.from_environment().windows < Sizes().windows


def test_a_process_has_cost_what_it_cost_and_one_that_is_gone_nothing() -> None:
    assert cpu_s([os.getpid()]) > 0
    assert 0 < rss_mb([os.getpid()]) <= peak_rss_mb([os.getpid()]) + 64
    assert cpu_s([2**22 + 1]) == 0


def heard(at_s: float, id: str, end_s: int) -> Heard:
    return Heard(at_s, id, "opened", end_s * 1_000)


def test_latency_begins_with_the_last_partition_that_a_windows_end_waits_for() -> None:
    delivered = {(105, 0): 10.0, (105, 1): 10.2}
    told = [heard(10.5, "a.1", 100), heard(11.0, "a.1", 100), heard(12.0, "b.1", 500)]
    assert latencies_ms(told, delivered, 2) == [pytest.approx(300.0)]  # repeats and unknown windows are left out
    assert metrics_of(latencies_ms(told, delivered, 2))["notifications"] == 1


def test_drift_is_the_rise_of_the_line_as_a_share_of_the_mean() -> None:
    assert drift([0, 1, 2, 3], [100, 100, 100, 100]) == 0
    assert drift([0, 1, 2], [90, 100, 110]) == pytest.approx(0.2)
    assert drift([0], [1]) != drift([0], [1])  # too little to say: NaN


def test_growth_names_every_file_with_its_most_and_its_slope(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "db").write_bytes(b"12345")
    assert file_bytes([tmp_path / "store"]) == {"store/db": 5}
    told = growth([0, 10, 20, 30], [{"a": 1}, {"a": 1}, {"a": 1}, {"a": 11, "b": 2}], {"a": "retention.bytes=9"})
    assert told["a"] == {
        "bytes": 11,
        "most_bytes": 11,
        "bytes_an_hour_second_half": pytest.approx(3_600),
        "bound": "retention.bytes=9",
    }
    assert set(told) == {"a", "b"}
