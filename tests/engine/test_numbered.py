"""Numbered rows give what rows with names give: the same windows, partials, marks, counts and late rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cardinality import SeriesLimitConfig
from engine.detect import DetectStep
from engine.ids import identity_of
from engine.measures import Measures
from engine.messages import FEATURES, Message
from engine.numbered import SERIES, Numbered, SeriesNames
from engine.partials import SORT
from engine.schemas import conform
from engine.state_codec import decode_state, encode_state
from engine.types import Inputs, Records
from engine.window import WindowConfig, WindowStep
from tests.engine.parts import config

CONFIG = WindowConfig(
    resolution_ms=1000, lateness_ms=500, shards=4, series=SeriesLimitConfig(per_metric=4, in_all=9, forget_ms=3000)
)

FORMS = ("gauge", "counter", "delta")

row = st.tuples(
    st.integers(0, 12_000),  # time
    st.integers(0, 3),  # entity
    st.integers(0, 2),  # metric, which has one form
    st.integers(0, 1),  # instance
    st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))),
)


def frame_of(rows: Sequence[tuple[int, int, int, int, float]]) -> pl.DataFrame:
    named = [(f"s{e % 2}/service/-/{e}", f"m{m}", f"pod-{i}", FORMS[m]) for _, e, m, i, _ in rows]
    return conform(
        "metrics",
        pl.DataFrame(
            {
                "ts_ms": [one[0] for one in rows],
                "offset": list(range(len(rows))),
                "entity": [one[0] for one in named],
                "indicator": [one[1] for one in named],
                "instance": [one[2] for one in named],
                "form": [one[3] for one in named],
                "value": [one[4] for one in rows],
                "identity": pl.Series([identity_of(*one) for one in named], dtype=pl.UInt64),
            },
            schema_overrides={"value": pl.Float64, "ts_ms": pl.Int64, "offset": pl.Int64},
        ),
    )


class Names:
    """Numbers series as a format does; `again` begins another generation."""

    def __init__(self) -> None:
        self.generation = 0
        self.again()

    def again(self) -> None:
        self.generation += 1
        self.frame = SERIES.to_frame()
        self.numbers: dict[int, int] = {}

    def numbered(self, rows: pl.DataFrame) -> Numbered:
        for named in rows.select(SERIES.names()).iter_rows():
            if named[-1] not in self.numbers:
                self.numbers[named[-1]] = self.frame.height
                self.frame = self.frame.vstack(pl.DataFrame([named], schema=SERIES, orient="row"))
        numbers = [self.numbers[one] for one in rows["identity"]]
        kept = [name for name in ("ts_ms", "offset", "value", "_clock") if name in rows.columns]
        frame = rows.select(kept).with_columns(series=pl.Series(numbers, dtype=pl.UInt32))
        return Numbered(frame, SeriesNames(self.frame, self.generation))


def told(messages: Sequence[Message]) -> list[tuple[str, str, str, str]]:
    """Return messages in a form in which both ways must agree: partials without keys, in the order of their names."""
    return [(one.stream, one.key, one.scope, _shown(one)) for one in messages]


def frames(messages: Sequence[Message]) -> list[tuple[str, str, str, str]]:
    """Return what was told without marks, which follow the cuts."""
    return sorted(told([one for one in messages if isinstance(one.payload, pl.DataFrame)]))


def _shown(message: Message) -> str:
    if not isinstance(message.payload, pl.DataFrame):
        return repr(message.payload)
    frame = message.payload.drop("key", strict=False)
    if message.stream == FEATURES:
        frame = frame.sort(SORT)
    return frame.select(sorted(frame.columns)).write_json()


@settings(deadline=None)
@given(
    st.lists(row, min_size=1, max_size=50),
    st.lists(st.integers(0, 50), max_size=5),
    st.sets(st.integers(0, 5)),
    st.sets(st.integers(0, 5)),
    st.booleans(),
)
def test_numbers_give_what_names_give(
    rows: list[tuple[int, int, int, int, float]], cuts: list[int], anew: set[int], named: set[int], skewed: bool
) -> None:
    frame = frame_of(rows)
    if skewed:
        frame = frame.with_columns(_clock=pl.min_horizontal("ts_ms", pl.lit(6_000)))
    names = Names()
    plain, numbered = WindowStep(CONFIG, "in", "metrics"), WindowStep(CONFIG, "in", "metrics")
    one: list[Message] = []
    other: list[Message] = []
    for at, (begin, end) in enumerate(pairwise(sorted({0, len(rows), *(min(c, len(rows)) for c in cuts)}))):
        if at in anew:
            names.again()
        one += plain.on_records(Records("metrics", frame[begin:end], "in", end))
        batch = frame[begin:end] if at in named else names.numbered(frame[begin:end])
        other += numbered.on_records(Records("metrics", batch, "in", end))
    one += plain.on_end()
    other += numbered.on_end()
    assert told(one) == told(other)
    assert (plain.counts, plain.dropped, plain.crowded) == (numbered.counts, numbered.dropped, numbered.crowded)


@settings(deadline=None)
@given(st.lists(row, min_size=1, max_size=50), st.integers(0, 50))
def test_a_restart_makes_no_difference(rows: list[tuple[int, int, int, int, float]], crash: int) -> None:
    frame, names = frame_of(rows), Names()
    crash = min(crash, len(rows))
    whole = WindowStep(CONFIG, "in", "metrics")
    want = whole.on_records(Records("metrics", names.numbered(frame), "in", len(rows))) + whole.on_end()
    first = WindowStep(CONFIG, "in", "metrics")
    said = first.on_records(Records("metrics", names.numbered(frame[:crash]), "in", crash))
    names.again()
    second = WindowStep(CONFIG, "in", "metrics", first.snapshot())
    said += second.on_records(Records("metrics", names.numbered(frame[crash:]), "in", len(rows))) + second.on_end()
    assert frames(said) == frames(want)


def test_inputs_may_share_what_they_learn() -> None:
    names, measures = Names(), Measures(4)
    a = WindowStep(CONFIG, "a", "metrics", measures=measures)
    b = WindowStep(CONFIG, "b", "metrics", measures=measures)
    one = frame_of([(100, 0, 0, 0, 1.0)])
    a.on_records(Records("metrics", names.numbered(one), "a", 1))
    names.again()  # b is told the new names first
    b.on_records(Records("metrics", names.numbered(frame_of([(100, 1, 0, 0, 2.0)])), "b", 1))
    [partials] = [m.payload for m in a.on_end() if m.stream == FEATURES and isinstance(m.payload, pl.DataFrame)]
    assert partials["total"].to_list() == [1.0]
    assert partials["entity"].to_list() == ["s0/service/-/0"]


def test_what_inputs_share_is_learned_once() -> None:
    names, measures = Names(), Measures(4)
    a = WindowStep(CONFIG, "a", "metrics", measures=measures)
    b = WindowStep(CONFIG, "b", "metrics", measures=measures)
    a.on_records(Records("metrics", names.numbered(frame_of([(100, 0, 0, 0, 1.0)])), "a", 1))
    assert len(measures) == 1
    b.on_records(Records("metrics", names.numbered(frame_of([(100, 1, 0, 0, 2.0)])), "b", 1))
    assert len(measures) == 2
    a.snapshot()  # although the other input has learned more
    names.again()
    b.on_records(Records("metrics", names.numbered(frame_of([(200, 1, 0, 0, 2.0)])), "b", 2))
    a.snapshot()  # or begun anew
    assert len(measures) == 1


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_the_bytes_of_partials_do_not_depend_on_who_came_first(order: tuple[int, ...]) -> None:
    frame, names = frame_of([(100, e, 0, 0, float(e)) for e in range(4)]), Names()
    names.numbered(frame[list(order)])
    step = WindowStep(CONFIG, "in", "metrics")
    said = step.on_records(Records("metrics", names.numbered(frame), "in", 4)) + step.on_end()
    [partials] = [m.payload for m in said if m.stream == FEATURES and isinstance(m.payload, pl.DataFrame)]
    assert partials["key"].is_sorted()
    assert (partials["key"] != 0).all()


def detected(
    rows: Sequence[tuple[int, int, int, int, float]], named: set[str], again: int
) -> list[tuple[str, str, bytes]]:
    """Return what detection says of two inputs, some of them `named`; it starts again after `again` messages."""
    engine = replace(config(), window=CONFIG, detect=replace(config().detect, base_resolution_ms=1000))
    detect = DetectStep(engine.detect, range(4))
    messages: list[Message] = [Message(FEATURES, "inputs", Inputs({"a": 1000, "b": 1000}, ("s0", "s1")))]
    for input, part in (("a", rows[::2]), ("b", rows[1::2])):
        step, names = WindowStep(CONFIG, input, "metrics"), Names()
        if part:
            frame = frame_of(part)
            batch = frame if input in named else names.numbered(frame)
            messages += step.on_records(Records("metrics", batch, input, len(part)))
        messages += step.on_end()
    said: list[Message] = []
    for at, message in enumerate(one for one in messages if one.stream == FEATURES):
        said += detect.on_message(message)
        if at == again:
            detect = DetectStep(engine.detect, range(4), decode_state(encode_state(detect.snapshot())))
    return sorted(
        (m.stream, m.key, m.payload.write_json().encode()) for m in said if isinstance(m.payload, pl.DataFrame)
    )


@settings(deadline=None)
@given(st.lists(row, min_size=1, max_size=40), st.sets(st.sampled_from("ab")), st.integers(0, 9))
def test_detection_cannot_tell_numbers_from_names(
    rows: list[tuple[int, int, int, int, float]], named: set[str], again: int
) -> None:
    assert detected(rows, named, again) == detected(rows, set(), -1)
