"""What is delivered twice counts once, as long as its window is open."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from engine.messages import LATE
from engine.repeats import Seen, identified_by_request, request_hash
from engine.schemas import conform
from engine.types import Records
from engine.window import WindowConfig, WindowStep
from tests.engine.parts import canonical

CONFIG = WindowConfig(resolution_ms=1000, lateness_ms=500, shards=4)


def rows(told: Sequence[tuple[int, int]]) -> pl.DataFrame:
    """Return samples of (time, series)."""
    return conform(
        "metrics",
        pl.DataFrame(
            {
                "ts_ms": [time for time, _ in told],
                "offset": range(len(told)),
                "entity": "x/service/-/a",
                "indicator": [f"cpu{{n={series}}}" for _, series in told],
                "instance": "",
                "form": "gauge",
                "value": 1.0,
                "identity": pl.Series([series for _, series in told], dtype=pl.UInt64),
            }
        ),
    )


def taken(step: WindowStep, frame: pl.DataFrame, offset: int = 0) -> list[object]:
    said = step.on_records(Records("metrics", frame, "in", offset + frame.height))
    return [one for one in said if one.stream == LATE]


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=20), max_size=6))
def test_a_hash_is_new_once(batches: list[list[int]]) -> None:
    seen, known = Seen(), set[int]()
    for batch in batches:
        want = []
        for one in batch:
            want.append(one not in known)
            known.add(one)
        assert seen.first(np.array(batch, np.uint64)).tolist() == want
    assert len(seen) == len(known)


def test_the_same_sample_twice_is_a_duplicate_and_another_time_is_not() -> None:
    step = WindowStep(CONFIG, "in", "metrics")
    taken(step, rows([(100, 7), (100, 8), (100, 7), (200, 7)]))
    taken(step, rows([(100, 8), (300, 8)]))
    assert step.counts == {"accepted": 4, "duplicate": 2}


def test_a_repeat_is_recognised_after_a_restart() -> None:
    first = WindowStep(CONFIG, "in", "metrics")
    taken(first, rows([(100, 7)]))
    second = WindowStep(CONFIG, "in", "metrics", first.snapshot())
    taken(second, rows([(100, 7), (100, 9)]))
    assert second.counts == {"accepted": 2, "duplicate": 1}


def test_a_repeat_after_its_window_is_late() -> None:
    step = WindowStep(CONFIG, "in", "metrics")
    taken(step, rows([(100, 7), (1600, 7)]))
    assert taken(step, rows([(100, 7)]))
    assert step.counts == {"accepted": 2, "late": 1}


def test_rows_without_an_identity_never_repeat() -> None:
    step = WindowStep(CONFIG, "in", "metrics")
    taken(step, rows([(100, 0), (100, 0)]))
    assert step.counts == {"accepted": 2}


def test_a_request_sent_again_repeats_and_equal_lines_in_it_do_not() -> None:
    line = rows([(100, 0), (100, 0), (100, 0)]).with_columns(offset=pl.Series([5, 5, 6]))
    twice = [request_hash(b"one request"), request_hash(b"another")]
    named = identified_by_request(line, [5, 6], twice)
    assert named["identity"].n_unique() == 3
    assert named.equals(identified_by_request(line, [5, 6], twice))
    again = identified_by_request(line.with_columns(offset=pl.Series([8, 8, 9])), [8, 9], twice)
    assert again["identity"].equals(named["identity"])


def test_a_message_that_is_no_request_gives_no_identity_and_own_ones_stay() -> None:
    frame = rows([(100, 0), (100, 3)])
    assert identified_by_request(frame, [0, 1], [0, 0])["identity"].to_list() == [0, 3]
    assert identified_by_request(frame, [0, 1], [9, 9])["identity"].to_list()[1] == 3


samples = st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 6)), min_size=1, max_size=50)


@given(samples, st.lists(st.integers(0, 50), max_size=4), st.integers(0, 50))
def test_cuts_and_a_restart_make_no_difference(told: list[tuple[int, int]], cuts: list[int], restart: int) -> None:
    frame = rows(told)
    whole = WindowStep(CONFIG, "in", "metrics")
    want = whole.on_records(Records("metrics", frame, "in", frame.height)) + whole.on_end()
    step, said = WindowStep(CONFIG, "in", "metrics"), []
    edges = sorted({0, frame.height, *(min(cut, frame.height) for cut in (*cuts, restart))})
    for begin, end in pairwise(edges):
        if begin == min(restart, frame.height):
            step = WindowStep(CONFIG, "in", "metrics", step.snapshot())
        said += step.on_records(Records("metrics", frame[begin:end], "in", end))
    said += step.on_end()
    frames = [[one for one in messages if isinstance(one.payload, pl.DataFrame)] for messages in (want, said)]
    assert canonical(frames[0]) == canonical(frames[1])
    assert whole.counts == step.counts
