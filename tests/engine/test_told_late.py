"""Events that are told late are news all the same: they count in the oldest open window, under their own time."""

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import window
from engine.messages import CHANGES, LATE, Message
from engine.runners.kafka.offset_text import MOST_CHARS, offsets_in, text_of
from engine.schemas import Kind, conform
from engine.types import Records
from engine.window import WindowConfig, WindowStep
from tests.engine.parts import canonical

CONFIG = WindowConfig(resolution_ms=1000, lateness_ms=500, shards=4, told_late_ms=8_000)


def rows(times: list[int]) -> pl.DataFrame:
    return conform(
        "events",
        pl.DataFrame(
            {
                "ts_ms": times,
                "offset": list(range(len(times))),
                "entity": "x/service/-/a",
                "reason": "Alert",
                "type": "Warning",
                "message": "m",
                "count": 1,
                "uid": [str(number) for number in range(len(times))],
                "identity": pl.Series(range(1, len(times) + 1), dtype=pl.UInt64),
            }
        ),
    )


def run(step: WindowStep, frame: pl.DataFrame, cuts: list[int], kind: Kind = "events") -> list[Message]:
    messages: list[Message] = []
    for begin, end in pairwise([0, *sorted(cuts), frame.height]):
        messages += step.on_records(Records(kind, frame[begin:end], "in", end))
    return messages


def changes(messages: list[Message]) -> list[tuple[int, int]]:
    """Return (window, own time) of every event that came out as a change."""
    frames = [one.payload for one in messages if one.stream == CHANGES and isinstance(one.payload, pl.DataFrame)]
    return [row for frame in frames for row in frame.select("start_ms", "ts_ms").rows()]


def test_an_alert_that_waited_counts_in_the_oldest_open_window() -> None:
    step = WindowStep(CONFIG, "in", "events")
    said = run(step, rows([100, 4_000, 200]), []) + step.on_end()
    assert not [one for one in said if one.stream == LATE]
    assert sorted(changes(said)) == [(0, 100), (3_000, 200), (4_000, 4_000)]
    assert step.counts == {"accepted": 3}


def test_after_an_idle_mark_too() -> None:
    step = WindowStep(CONFIG, "in", "events")
    step.on_idle(9_000)
    said = run(step, rows([4_000]), [])
    assert changes(said + step.on_idle(10_000)) == [(9_000, 4_000)]
    assert step.counts == {"accepted": 1}


def test_what_is_too_old_is_late() -> None:
    step = WindowStep(CONFIG, "in", "events")
    said = run(step, rows([100, 20_000, 200]), [])
    assert [one.key for one in said if one.stream == LATE] == ["in/2"]


def test_what_is_told_again_after_its_window_is_late() -> None:
    step = WindowStep(CONFIG, "in", "events")
    run(step, rows([100, 4_000]), [])
    again = WindowStep(CONFIG, "in", "events", step.snapshot())
    said = again.on_records(Records("events", rows([100]), "in", 3))
    assert [one.stream for one in said] == [LATE]
    assert again.counts == {"accepted": 2, "late": 1}


def test_more_than_a_commit_can_hold_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "MOST_TOLD_LATE", 2)
    step = WindowStep(CONFIG, "in", "events")
    run(step, rows([100, 4_000, 1, 2, 3, 4]), [4])
    assert step.counts == {"accepted": 4, "late": 2}


times = st.lists(st.integers(0, 15_000), min_size=1, max_size=50)


@given(times, st.lists(st.integers(0, 50), max_size=5))
def test_cuts_make_no_difference(times: list[int], cuts: list[int]) -> None:
    frame = rows(times)
    whole, cut = WindowStep(CONFIG, "in", "events"), WindowStep(CONFIG, "in", "events")
    one = run(whole, frame, []) + whole.on_end()
    many = run(cut, frame, [min(c, len(times)) for c in cuts]) + cut.on_end()
    frames = [[m for m in said if isinstance(m.payload, pl.DataFrame)] for said in (one, many)]
    assert canonical(frames[0]) == canonical(frames[1])
    assert whole.counts == cut.counts


@given(times, st.integers(0, 50), st.integers(0, 50))
def test_after_a_crash_the_same_comes_again_and_no_other(times: list[int], commit: int, crash: int) -> None:
    commit, crash = sorted(min(one, len(times)) for one in (commit, crash))
    frame = rows(times)
    undisturbed = WindowStep(CONFIG, "in", "events")
    want = run(undisturbed, frame, [commit, crash]) + undisturbed.on_end()

    first = WindowStep(CONFIG, "in", "events")
    said = run(first, frame[:commit], [])
    saved = {"emitted_ms": first.emitted_ms, "latest_ms": first.latest_ms, "position": first.position}
    late, safe = offsets_in(text_of(first.told_late())), first.safe_offset()
    said += run(first, frame[commit:crash], []) if crash > commit else []
    second = WindowStep.resume_from(CONFIG, "in", "events", **saved, told_late=late)
    tail = frame.filter(pl.col("offset") >= safe)
    said += second.on_records(Records("events", tail, "in", len(times))) + second.on_end()

    payloads = [[m for m in messages if isinstance(m.payload, pl.DataFrame)] for messages in (want, said)]
    assert canonical(payloads[0]) == canonical(payloads[1])


@given(st.lists(st.integers(0, 1 << 40), unique=True, max_size=50).map(sorted))
def test_offsets_survive_being_text(offsets: list[int]) -> None:
    assert offsets_in(text_of(offsets)) == offsets


def test_a_window_full_of_them_fits_into_a_commit() -> None:
    assert len(text_of([7 * n + n % 3 for n in range(window.MOST_TOLD_LATE)])) < MOST_CHARS
    assert len(text_of([n * n for n in range(window.MOST_TOLD_LATE)])) < MOST_CHARS
