"""Windows: lateness, batch cuts, idle marks, and going on after a crash."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from engine.messages import FEATURES, LATE, Message
from engine.schemas import conform
from engine.types import END_MS, Mark, Records
from engine.window import WindowConfig, WindowStep
from tests.engine.parts import canonical

CONFIG = WindowConfig(resolution_ms=1000, lateness_ms=500, shards=4)


def rows(times: list[int]) -> pl.DataFrame:
    return conform(
        "metrics",
        pl.DataFrame(
            {
                "ts_ms": times,
                "offset": list(range(len(times))),
                "entity": [f"x/service/-/{time % 3}" for time in times],
                "indicator": "cpu",
                "instance": "",
                "form": "gauge",
                "value": [time / 7 for time in times],
            },
            schema_overrides={"value": pl.Float64},
        ),
    )


def run(step: WindowStep, frame: pl.DataFrame, cuts: list[int]) -> list[Message]:
    messages: list[Message] = []
    edges = [0, *sorted(cuts), frame.height]
    for begin, end in pairwise(edges):
        messages += step.on_records(Records("metrics", frame[begin:end], "in", end))
    return messages


times = st.lists(st.integers(0, 10_000), min_size=1, max_size=60)


@given(times, st.lists(st.integers(0, 60), max_size=5))
def test_how_rows_are_cut_into_batches_makes_no_difference(times: list[int], cuts: list[int]) -> None:
    frame = rows(times)
    whole, cut = WindowStep(CONFIG, "in", "metrics"), WindowStep(CONFIG, "in", "metrics")
    one = run(whole, frame, []) + whole.on_end()
    many = run(cut, frame, [min(c, len(times)) for c in cuts]) + cut.on_end()
    frames = [[m for m in said if isinstance(m.payload, pl.DataFrame)] for said in (one, many)]
    assert canonical(frames[0]) == canonical(frames[1])
    assert whole.counts == cut.counts
    assert whole.counts.total() == len(times)


@given(times, st.integers(0, 60), st.integers(0, 60))
def test_after_a_crash_the_same_partials_come_again_and_no_other(times: list[int], commit: int, crash: int) -> None:
    commit, crash = sorted(min(one, len(times)) for one in (commit, crash))
    frame = rows(times)
    undisturbed = WindowStep(CONFIG, "in", "metrics")
    want = run(undisturbed, frame, [commit, crash]) + undisturbed.on_end()

    first = WindowStep(CONFIG, "in", "metrics")
    said = run(first, frame[:commit], [])
    saved = {"emitted_ms": first.emitted_ms, "latest_ms": first.latest_ms, "position": first.position}
    safe = first.safe_offset()
    said += run(first, frame[commit:crash], []) if crash > commit else []
    second = WindowStep.resume_from(CONFIG, "in", "metrics", **saved)
    tail = frame.filter(pl.col("offset") >= safe)
    said += second.on_records(Records("metrics", tail, "in", len(times))) + second.on_end()

    payloads = [[m for m in messages if isinstance(m.payload, pl.DataFrame)] for messages in (want, said)]
    assert canonical(payloads[0]) == canonical(payloads[1])


def test_a_row_behind_its_partition_is_late_and_said_so() -> None:
    step = WindowStep(CONFIG, "in", "metrics")
    messages = run(step, rows([100, 1600, 200, 1700]), [])
    (late,) = [m for m in messages if m.stream == LATE]
    assert late.key == "in/2"
    assert step.counts == {"accepted": 3, "late": 1}


def test_an_idle_mark_closes_windows_and_makes_earlier_rows_late() -> None:
    step = WindowStep(CONFIG, "in", "metrics")
    run(step, rows([100]), [])
    marks = [m.payload for m in step.on_idle(1000) if isinstance(m.payload, Mark) and m.stream == FEATURES]
    assert [mark.watermark_ms for mark in marks] == [1000]
    run(step, rows([0, 0, 300]).with_columns(offset=pl.Series([5, 6, 7])), [])
    assert step.counts["late"] == 3


def test_the_end_closes_everything_once() -> None:
    step = WindowStep(CONFIG, "in", "metrics")
    run(step, rows([100]), [])
    marks = [m.payload for m in step.on_end() if isinstance(m.payload, Mark)]
    assert {mark.watermark_ms for mark in marks} == {1000, END_MS}
    assert step.on_end() == []


@given(times, st.lists(st.integers(0, 60), max_size=5))
def test_marks_are_the_same_however_many_windows_close_at_once(times: list[int], cuts: list[int]) -> None:
    said: list[dict[str, Mark]] = []
    for where in ([], [min(cut, len(times)) for cut in cuts]):
        step = WindowStep(CONFIG, "in", "metrics")
        messages = run(step, rows(times), where) + step.on_end()
        said.append({m.key: m.payload for m in messages if isinstance(m.payload, Mark)})
    assert all(said[0][key] == said[1][key] for key in said[0].keys() & said[1].keys())
    assert {start for mark in said[0].values() for start in mark.windows} == {
        start for mark in said[1].values() for start in mark.windows
    }
