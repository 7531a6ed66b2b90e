"""Events that are told late are news all the same: they count in the oldest open window, under their own time."""

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import told_late
from engine.messages import CHANGES, LATE, Message
from engine.schemas import Kind, conform
from engine.told_late import keys_in, text_of
from engine.types import Records
from engine.window import WindowConfig, WindowStep
from tests.engine.parts import canonical

CONFIG = WindowConfig(resolution_ms=1000, lateness_ms=500, shards=4, told_late_ms=8_000)


def rows(times: list[int], offsets: list[int] | None = None, events: list[int] | None = None) -> pl.DataFrame:
    """Return events at `times`, one a message and each another, unless told otherwise."""
    numbers = list(range(len(times)))
    return conform(
        "events",
        pl.DataFrame(
            {
                "ts_ms": times,
                "offset": offsets or numbers,
                "entity": "x/service/-/a",
                "reason": "Alert",
                "type": "Warning",
                "message": "m",
                "count": 1,
                "uid": [str(number) for number in events or numbers],
                "identity": pl.Series([number + 1 for number in events or numbers], dtype=pl.UInt64),
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


def test_a_repeat_in_its_own_open_window_is_a_duplicate() -> None:
    step = WindowStep(CONFIG, "in", "events")
    run(step, rows([100, 4_000, 200, 200], events=[1, 2, 3, 3]), [3])
    assert step.counts == {"accepted": 3, "duplicate": 1}


def test_a_repeat_of_a_late_one_is_late_once_its_window_is_out() -> None:
    step = WindowStep(CONFIG, "in", "events")
    said = run(step, rows([100, 4_000, 200, 6_000, 200], events=[1, 2, 3, 4, 3]), []) + step.on_end()
    assert step.counts == {"accepted": 4, "late": 1}
    assert sorted(changes(said)) == [(0, 100), (3_000, 200), (4_000, 4_000), (6_000, 6_000)]


def test_more_than_a_commit_can_hold_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told_late, "MOST_RUNS", 2)
    step = WindowStep(CONFIG, "in", "events")
    # one run of two rows, one of one, and a third that is one too many
    run(step, rows([100, 4_000, 1, 2, 4_001, 3, 4_002, 4], offsets=[0, 1, 2, 2, 2, 2, 2, 2]), [2])
    assert step.counts == {"accepted": 7, "late": 1}


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[pl.DataFrame, list[int]]:
    """Return events in messages of several, some told again, and the places between messages."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=14))
    events = draw(st.lists(st.integers(0, 12), min_size=sum(sizes), max_size=sum(sizes)))
    at = {event: draw(st.integers(0, 15_000)) for event in sorted(set(events))}
    offsets = [offset for offset, size in enumerate(sizes) for _ in range(size)]
    edges = [sum(sizes[:number]) for number in range(len(sizes) + 1)]
    return rows([at[event] for event in events], offsets, events), edges


def feed(step: WindowStep, frame: pl.DataFrame, edges: list[int]) -> list[Message]:
    """Feed whole messages, cut at some edges."""
    messages: list[Message] = []
    for begin, end in pairwise(sorted({0, frame.height, *edges})):
        part = frame[begin:end]
        messages += step.on_records(Records("events", part, "in", int(part["offset"].max()) + 1))  # type: ignore[call-overload]
    return messages


def partials(messages: list[Message]) -> object:
    return canonical([one for one in messages if isinstance(one.payload, pl.DataFrame) and one.stream != LATE])


@given(deliveries(), st.data())
def test_cuts_make_no_difference(told: tuple[pl.DataFrame, list[int]], data: st.DataObject) -> None:
    frame, edges = told
    cuts = data.draw(st.lists(st.sampled_from(edges)))
    whole, cut = WindowStep(CONFIG, "in", "events"), WindowStep(CONFIG, "in", "events")
    one, many = feed(whole, frame, []) + whole.on_end(), feed(cut, frame, cuts) + cut.on_end()
    assert partials(one) == partials(many)
    assert whole.counts == cut.counts


@given(deliveries(), st.data())
def test_a_restart_from_a_checkpoint_makes_no_difference(
    told: tuple[pl.DataFrame, list[int]], data: st.DataObject
) -> None:
    frame, edges = told
    at = data.draw(st.sampled_from(edges))
    whole = WindowStep(CONFIG, "in", "events")
    want = feed(whole, frame, [at]) + whole.on_end()
    first = WindowStep(CONFIG, "in", "events")
    said = feed(first, frame[:at], []) if at else []
    second = WindowStep(CONFIG, "in", "events", first.snapshot())
    said += (feed(second, frame[at:], []) if at < frame.height else []) + second.on_end()
    assert partials(want) == partials(said)
    assert whole.counts == second.counts


@given(deliveries(), st.data())
def test_after_a_crash_on_kafka_the_same_comes_again_and_no_other(
    told: tuple[pl.DataFrame, list[int]], data: st.DataObject
) -> None:
    """Events that are told again are left out: the memory of what is out does not outlive a worker there."""
    frame, _ = told
    frame = frame.unique("identity", keep="first", maintain_order=True)
    edges = [0, *frame.with_row_index().group_by("offset").agg(pl.col("index").max() + 1)["index"].sort()]
    commit, crash = sorted(data.draw(st.lists(st.sampled_from(edges), min_size=2, max_size=2)))
    undisturbed = WindowStep(CONFIG, "in", "events")
    want = feed(undisturbed, frame, [commit, crash]) + undisturbed.on_end()

    first = WindowStep(CONFIG, "in", "events")
    said = feed(first, frame[:commit], []) if commit else []
    saved = {"emitted_ms": first.emitted_ms, "latest_ms": first.latest_ms, "position": first.position}
    late, safe = keys_in(text_of(first.told_late())), first.safe_offset()
    said += feed(first, frame[commit:crash], []) if crash > commit else []
    second = WindowStep.resume_from(CONFIG, "in", "events", **saved, told_late=late)
    tail = frame.filter(pl.col("offset") >= safe)
    said += (feed(second, tail, []) if tail.height else []) + second.on_end()
    assert partials(want) == partials(said)


@given(st.lists(st.integers(0, 1 << 40), unique=True, max_size=50).map(sorted))
def test_keys_survive_being_text(keys: list[int]) -> None:
    assert keys_in(text_of(keys)) == keys


def test_a_window_full_of_them_fits_into_a_commit() -> None:
    keys = [(n * 70_001 << 20) + n * 5_000 for n in range(told_late.MOST_RUNS)]
    assert len(text_of(keys)) < 3_900
