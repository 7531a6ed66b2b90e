"""Rows that are written as shippers send them come back as the same rows."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.wire import FORMAT_OF, encode
from engine.errors import DataError
from engine.schemas import Kind, conform
from ingest.identity import Identity
from ingest.loglines import with_text
from ingest.metric_labels import indicator_of
from ingest.registry import format_of
from ingest.scrub import Scrubber

IDENTITY = Identity("nezha")
NAMES = st.from_regex(r"[a-z]{2,9}(-[a-z]{2,9})?", fullmatch=True)
PODS = NAMES.map(lambda name: f"{name}-5b67c48447-mv5hb")
TIMES = st.integers(1_000_000_000_000, 4_000_000_000_000)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
LEVELS = st.sampled_from(["ERROR ", "INFO ", "", '{"severity":"warn"} '])
MICROSECONDS = st.integers(0, 10_000_000_000)


def came_back(kind: Kind, rows: pl.DataFrame) -> pl.DataFrame:
    bodies = encode(kind, rows)
    decoded = format_of(FORMAT_OF[kind], IDENTITY).decode(bodies, range(len(bodies)), kind)
    frame, dead = decoded.rows, list(decoded.letters)
    assert not dead
    return frame.drop("identity")


def expected(kind: Kind, rows: pl.DataFrame) -> pl.DataFrame:
    return conform(kind, rows.with_row_index("offset")).drop("identity")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(TIMES, PODS, LEVELS, TEXTS), min_size=1, max_size=8))
def test_logs(lines: list[tuple[int, str, str, str]]) -> None:
    rows = pl.DataFrame(
        {
            "ts_ms": [one[0] for one in lines],
            "entity": [IDENTITY.of_pod(one[1]) for one in lines],
            "body": [one[2] + one[3] for one in lines],
            "level": pl.Series([None] * len(lines), dtype=pl.String),
        }
    )
    rows = with_text(rows, Scrubber()).drop("level")
    assert came_back("logs", rows).equals(expected("logs", rows))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(TIMES, st.none() | PODS, NAMES, st.floats(allow_infinity=False), TEXTS), min_size=1))
def test_metrics(samples: list[tuple[int, str | None, str, float, str]]) -> None:
    rows = pl.DataFrame(
        {
            "ts_ms": [one[0] // 1000 * 1000 for one in samples],
            "entity": [IDENTITY.of_pod(one[1]) if one[1] else IDENTITY.node("10.0.0.7") for one in samples],
            "indicator": [
                f"CpuUsage({one[2]})" if one[1] else indicator_of("NodeUse", {"peer": one[4]}) for one in samples
            ],
            "instance": [one[1] or "" for one in samples],
            "form": ["gauge"] * len(samples),
            "value": [one[3] for one in samples],
        }
    )
    assert came_back("metrics", rows).equals(expected("metrics", rows))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(TIMES, PODS, st.none() | NAMES, NAMES, MICROSECONDS, st.booleans()), min_size=1))
def test_spans(many: list[tuple[int, str, str | None, str, int, bool]]) -> None:
    rows = pl.DataFrame(
        {
            "ts_ms": [one[0] for one in many],
            "entity": [IDENTITY.of_pod(one[1]) for one in many],
            "trace_id": ["t"] * len(many),
            "span_id": [f"s{number}" for number in range(len(many))],
            "parent_span_id": pl.Series([one[2] for one in many], dtype=pl.String),
            "operation": [one[3] for one in many],
            "duration_ms": [one[4] * 1000 / 1e6 for one in many],
            "error": [one[5] for one in many],
        }
    )
    assert came_back("spans", rows).equals(expected("spans", rows))


def test_a_service_without_a_pod_keeps_its_name() -> None:
    rows = pl.DataFrame(
        {
            "ts_ms": [1_600_000_000_000],
            "entity": ["nezha/service/default/frontend"],
            "indicator": ['ClientLatencyP50(s){peer="cart"}'],
            "instance": [""],
            "form": ["gauge"],
            "value": [0.25],
        }
    )
    assert came_back("metrics", rows).equals(expected("metrics", rows))


def test_a_row_that_the_format_cannot_carry_is_refused() -> None:
    row = {"ts_ms": 1_600_000_000_500, "entity": "a/service/b/c", "indicator": "x", "instance": "", "form": "gauge"}
    rows = pl.DataFrame([row | {"value": 1.0}])
    with pytest.raises(DataError, match="whole seconds"):
        encode("metrics", rows)
    with pytest.raises(DataError, match="only gauges"):
        encode("metrics", rows.with_columns(ts_ms=pl.lit(0), form=pl.lit("counter")))
    with pytest.raises(DataError, match="only services"):
        encode("metrics", rows.with_columns(ts_ms=pl.lit(0), entity=pl.lit("a/queue/-/c")))
    with pytest.raises(DataError, match="no wire format"):
        encode("costs", rows)
