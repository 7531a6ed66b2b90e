"""The telemetry that the benchmarks send: real shapes, the same every time, and nothing lost on the way in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pytest

from benchmarks.live_generator import Faults, Plan
from benchmarks.load import POD_SERIES, START_MS, Fleet
from benchmarks.load_batches import OtlpMetrics, RemoteWrite
from benchmarks.load_logs import Logs
from engine.numbered import expanded
from ingest.identity import Identity
from ingest.registry import format_of
from tests.conftest import ROOT

SERIES = 500


def scrapes(fleet: Fleet, number: int = 2) -> Iterator[str]:
    return (body for scrape in range(number) for part in fleet.adapter_json(scrape) for body in part.bodies)


def decoded(format: str, bodies: list[bytes]) -> pl.DataFrame:
    found = format_of(format, Identity("bench")).decode(bodies, range(len(bodies)), "bench")
    assert not found.letters
    return expanded(found.rows)


def test_the_adapters_json_has_the_shape_of_the_golden_messages() -> None:
    golden = json.loads((ROOT / "tests/golden/prometheus-adapter/samples.jsonl").read_text().splitlines()[0])
    for body in scrapes(Fleet(SERIES)):
        message = json.loads(body)
        assert list(message) == list(golden)  # Go sorts the keys of a map
        assert list(message["labels"]) == sorted(message["labels"])
        assert message["name"] == message["labels"]["__name__"]
        assert 150 <= len(body) <= 330


def test_the_same_seed_gives_the_same_messages_and_another_gives_others() -> None:
    assert list(scrapes(Fleet(SERIES))) == list(scrapes(Fleet(SERIES)))
    assert list(scrapes(Fleet(SERIES))) != list(scrapes(Fleet(SERIES, seed=7)))


def test_every_series_is_scraped_once_a_scrape_in_time_order_and_stays_in_its_partition() -> None:
    fleet = Fleet(SERIES)
    where: dict[str, int] = {}
    for scrape in range(2):
        parts = list(fleet.adapter_json(scrape))
        labels = [json.dumps(json.loads(body)["labels"]) for part in parts for body in part.bodies]
        assert len(set(labels)) == len(labels) == SERIES
        assert [part.second for part in parts] == sorted(part.second for part in parts)
        for part in parts:
            for body in part.bodies:
                assert where.setdefault(json.dumps(json.loads(body)["labels"]), part.partition) == part.partition


def test_counters_never_fall_and_scrapes_come_in_their_order() -> None:
    fleet = Fleet(SERIES)
    first, second = (fleet.values(number) for number in (0, 1))
    counters = np.array(
        [fleet.labels(int(n))["__name__"].endswith(("_total", "_sum", "_count")) for n in fleet.numbers]
    )
    assert (second[counters] >= first[counters]).all()
    with pytest.raises(ValueError, match="2 is next"):
        fleet.values(5)


@pytest.mark.parametrize(("format", "of"), [("prometheus-remote-write", RemoteWrite), ("otlp-metrics", OtlpMetrics)])
def test_batched_formats_say_the_same_values_at_the_same_times(format: str, of: Any) -> None:
    made = of(Fleet(SERIES))
    for scrape in range(2):
        requests = list(made.scrape(scrape))
    rows = decoded(format, [body for _, body, _ in requests])
    again = Fleet(SERIES)
    values = [again.values(scrape) for scrape in range(2)][1]
    assert sum(samples for _, _, samples in requests) == rows.height == SERIES
    assert rows["value"].sort().to_list() == sorted(values.tolist())
    assert rows["ts_ms"].sort().to_list() == sorted(again.time_ms(1).tolist())


def test_a_pods_series_are_all_of_its_service() -> None:
    rows = decoded("prometheus-adapter", [body.encode() for body in scrapes(Fleet(3 * POD_SERIES), 1)])
    assert rows["entity"].unique().to_list() == ["bench/service/backoffice/payments-0"]
    assert rows["ts_ms"].min() >= START_MS  # type: ignore[operator]


def test_log_lines_decode_to_as_many_rows_in_time_order() -> None:
    batches = [one for batch in Logs(3_000, 60).batches(1_000) for one in batch]
    rows = decoded("fluentbit", [body for _, body, _ in batches])
    assert rows.height == len(batches) == 3_000
    assert rows["ts_ms"].is_sorted()
    assert batches == [one for batch in Logs(3_000, 60).batches(1_000) for one in batch]
    assert len({place for place, _, _ in batches}) == 4


PLAN = Plan("", "", 4, 3_000, 100, 0, calm_s=10, fault_every_s=5, fault_s=8)


@pytest.mark.parametrize(("second", "services"), [(9, 0), (10, 1), (14, 1), (15, 2), (17, 2), (18, 1), (20, 2)])
def test_faults_begin_after_the_calm_and_each_hits_one_service(second: int, services: int) -> None:
    fleet = Fleet(PLAN.series, scrape_s=1)
    factor = Faults(PLAN, fleet).factor(second)
    hit = set() if factor is None else set((fleet.pods[factor > 1] // 3).tolist())
    assert len(hit) == services
