"""Features: counters, counts, coverage, quantiles, cost; merged from any partitioning of the same rows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import StateMismatch
from engine.features import Features, coverage_share, merge, quantiles_ms
from engine.partials import bucket_of, partials_of
from engine.schemas import Kind, conform
from engine.types import Coverage, Tick
from tests.engine.parts import FirstWordsConfig

MINUTE = 60_000


def partial(kind: Kind, rows: list[dict[str, object]], input: str = "a", start: int = 0) -> pl.DataFrame:
    frame = conform(kind, pl.DataFrame([{"offset": i} | row for i, row in enumerate(rows)], infer_schema_length=None))
    made = partials_of(kind, frame, 4)
    return made.with_columns(input=pl.lit(input), start_ms=pl.lit(start, pl.Int64), resolution_ms=pl.lit(MINUTE))


def values(ticks: list[Tick]) -> dict[tuple[str, str], float]:
    return {
        (tick.index[number].entity, tick.index[number].indicator): value
        for tick in ticks
        for number, value in zip(tick.series.tolist(), tick.values.tolist(), strict=True)
    }


def counter(time: int, value: float, instance: str = "p1") -> dict[str, object]:
    return {
        "ts_ms": time,
        "entity": "x/service/-/a",
        "indicator": "hits",
        "instance": instance,
        "form": "counter",
        "value": value,
    }


def test_a_counter_becomes_a_rate_that_survives_resets_and_replicas() -> None:
    features = Features(FirstWordsConfig())
    first = [counter(0, 100.0), counter(30_000, 160.0), counter(5_000, 7.0, "p2")]
    assert values(features.ticks(merge([partial("metrics", first)]), 0, MINUTE, {"x/metrics": 1.0})) == {
        ("x/service/-/a", "hits"): 2.0  # 60 of p1 in 30 s; p2 has only one sample yet
    }
    second = [counter(60_000, 220.0), counter(90_000, 30.0), counter(65_000, 37.0, "p2")]
    made = values(features.ticks(merge([partial("metrics", second)]), MINUTE, MINUTE, {"x/metrics": 1.0}))
    assert made == {("x/service/-/a", "hits"): pytest.approx((60 + 30) / 60 + 30 / 60)}


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 59_999), st.floats(0, 1e6)), min_size=1, max_size=30, unique_by=lambda t: t[0]),
    st.data(),
)
def test_any_partitioning_of_a_counter_gives_the_same_rate(
    samples: list[tuple[int, float]], data: st.DataObject
) -> None:
    rows = [counter(time, value) for time, value in sorted(samples)]
    side = [data.draw(st.booleans()) for _ in rows]
    halves = [[row for row, left in zip(rows, side, strict=True) if left is which] for which in (True, False)]
    parts = [partial("metrics", half, name) for half, name in zip(halves, "ab", strict=True) if half]
    whole = values(Features(FirstWordsConfig()).ticks(merge([partial("metrics", rows)]), 0, MINUTE, {"x/metrics": 1.0}))
    split = values(Features(FirstWordsConfig()).ticks(merge(parts), 0, MINUTE, {"x/metrics": 1.0}))
    assert whole == pytest.approx(split)


def log(time: int, signature: str) -> dict[str, object]:
    return {"ts_ms": time, "entity": "x/service/-/a", "severity": "info", "body": "", "signature": signature}


def test_counts_are_zero_only_where_their_input_spoke() -> None:
    features = Features(FirstWordsConfig())
    nothing = merge([])
    features.ticks(merge([partial("logs", [log(0, "one x")])]), 0, MINUTE, {"x/logs": 1.0})
    quiet = values(features.ticks(merge([partial("logs", [log(0, "two x")])]), MINUTE, MINUTE, {"x/logs": 1.0}))
    assert quiet[("x/service/-/a", "log.template.one")] == 0.0
    gap = values(features.ticks(nothing, 2 * MINUTE, MINUTE, {"x/metrics": 1.0}))
    assert gap == {}


def test_a_new_count_knows_how_long_it_was_zero() -> None:
    features = Features(FirstWordsConfig())
    for window in range(3):
        features.ticks(merge([partial("logs", [log(0, "one x")])]), window * MINUTE, MINUTE, {"x/logs": 1.0})
    (tick,) = features.ticks(merge([partial("logs", [log(0, "new x")])]), 3 * MINUTE, MINUTE, {"x/logs": 1.0})
    zeros = {tick.index[n].indicator: z for n, z in zip(tick.series.tolist(), tick.zeros.tolist(), strict=True)}
    assert zeros == {"log.severity.info": 0, "log.template.one": 0, "log.template.new": 3}


def test_an_input_that_covers_part_of_a_window_is_scaled() -> None:
    half = Coverage(300, 30_000, 59_900)
    assert coverage_share([half], 0, MINUTE) == pytest.approx(0.5, abs=0.01)
    assert coverage_share([Coverage(2, 1_000, 50_000)], 0, MINUTE) == 1.0  # two rows: no reason to call it a gap


def test_quantiles_are_within_a_bucket_of_the_truth() -> None:
    durations = np.random.default_rng(0).lognormal(3, 1, 5000)
    buckets, counts = np.unique(bucket_of(durations), return_counts=True)
    got = quantiles_ms(np.zeros(len(buckets), np.int64), buckets, counts, (0.5, 0.99))[0]
    assert got == pytest.approx(np.quantile(durations, [0.5, 0.99]), rel=0.1)


def test_a_period_of_cost_becomes_a_tick_that_ends_with_it() -> None:
    day = 86_400_000
    rows: list[dict[str, object]] = [
        {
            "ts_ms": 9 * day,
            "entity": entity,
            "period_start_ms": at * day,
            "period_end_ms": (at + 1) * day,
            "amount_usd": float(at),
            "estimated": False,
        }
        for entity, at in (("x/account/-/ec2", 8), ("x/account/-/ec2", 7), ("x/account/-/s3", 7), ("x/account/-/s3", 9))
    ]
    features = Features(FirstWordsConfig())
    merged = merge([partial("costs", rows)])
    assert features.ticks(merged, 9 * day, day, {}) == []
    closed = features.close_periods(merged, 9 * day, day)
    assert closed is not None
    ticks = list(features.period_ticks(closed, day))
    assert [{(one.start_ms // day, one.end_ms // day) for one in tick} for tick in ticks] == [{(7, 8)}, {(8, 9)}]
    ec2, s3 = ("x/account/-/ec2", "cost.usd"), ("x/account/-/s3", "cost.usd")
    assert [values(tick) for tick in ticks] == [{ec2: 7.0, s3: 7.0}, {ec2: 8.0}]  # s3's day 9 had not ended


def test_a_gap_makes_no_spike_of_a_steady_counter() -> None:
    features = Features(FirstWordsConfig())
    for minute in (0, 1, 11):
        rows = [counter(minute * MINUTE + second * 1000, 10.0 * (minute * 60 + second)) for second in (10, 50)]
        ticks = features.ticks(merge([partial("metrics", rows)]), minute * MINUTE, MINUTE, {"x/metrics": 1.0})
        assert values(ticks) == {("x/service/-/a", "hits"): 10.0}


def test_one_scope_that_is_silent_is_not_zero_because_another_speaks() -> None:
    features = Features(FirstWordsConfig())
    both = merge([partial("logs", [log(0, "one x"), log(0, "one x") | {"entity": "y/service/-/b"}])])
    features.ticks(both, 0, MINUTE, {"x/logs": 1.0, "y/logs": 1.0})
    ticks = features.ticks(merge([partial("logs", [log(0, "one x")])]), MINUTE, MINUTE, {"x/logs": 1.0})
    assert {entity for entity, _ in values(ticks)} == {"x/service/-/a"}


def test_quantiles_are_the_same_in_any_company() -> None:
    rng = np.random.default_rng(3)
    histograms = [np.unique(bucket_of(rng.lognormal(3, 1, 997)), return_counts=True) for _ in range(50)]
    groups = np.repeat(np.arange(50), [len(buckets) for buckets, _ in histograms])
    buckets, counts = (np.concatenate([one[part] for one in histograms]) for part in (0, 1))
    together = quantiles_ms(groups, buckets, counts, (0.5, 0.9, 0.99))
    for row, (own_buckets, own_counts) in enumerate(histograms):
        alone = quantiles_ms(np.zeros(len(own_buckets), np.int64), own_buckets, own_counts, (0.5, 0.9, 0.99))
        assert alone[0].tolist() == together[row].tolist()


def test_state_of_another_version_is_refused_by_name() -> None:
    state = Features(FirstWordsConfig()).snapshot()
    Features(FirstWordsConfig(), state)
    with pytest.raises(StateMismatch, match="features have version 2, this program writes 3"):
        Features(FirstWordsConfig(), state | {"version": 2, "series": {"0": []}})
