"""The join: calls across windows, spans that come twice, orphans."""

from __future__ import annotations

import polars as pl

from engine.join import JoinConfig, JoinStep
from engine.messages import SPANS, Message
from engine.partials import with_shard
from engine.types import END_MS, Inputs, Mark

MINUTE = 60_000


def spans(start: int, *rows: tuple[str, str | None, str]) -> Message:
    frame = pl.DataFrame(
        [{"trace_id": "t", "span_id": id, "parent_span_id": parent, "entity": entity} for id, parent, entity in rows],
        schema_overrides={"parent_span_id": pl.String},
    ).with_columns(start_ms=pl.lit(start, pl.Int64))
    return Message(SPANS, f"in/{start}", with_shard(frame, "trace_id", 4))


def run(step: JoinStep, *messages: Message) -> list[tuple[str, str, int]]:
    said = step.on_message(Message(SPANS, "inputs", Inputs({"in": MINUTE}, ("x",))))
    for message in messages:
        said += step.on_message(message)
    said += step.on_message(Message(SPANS, "in/end", Mark(("in",), MINUTE, END_MS)))
    frames = [one.payload for one in said if isinstance(one.payload, pl.DataFrame)]
    return [row for frame in frames for row in frame.select("source", "target", "n").iter_rows()]


def test_a_parent_in_the_next_window_is_waited_for() -> None:
    step = JoinStep(JoinConfig(MINUTE, 10_000), range(4))
    child, parent = spans(0, ("c", "p", "x/service/-/b")), spans(MINUTE, ("p", None, "x/service/-/a"))
    assert run(step, child, parent) == [("x/service/-/a", "x/service/-/b", 1)]


def test_a_parent_that_never_comes_makes_an_orphan() -> None:
    step = JoinStep(JoinConfig(MINUTE, 10_000), range(4))
    others = [spans(n * MINUTE, (f"o{n}", None, "x/service/-/a")) for n in range(1, 4)]
    assert run(step, spans(0, ("c", "p", "x/service/-/b")), *others) == []
    assert step.counts["orphans"] == 1


def test_spans_that_come_again_and_again_do_not_multiply() -> None:
    step = JoinStep(JoinConfig(MINUTE, 20 * MINUTE), range(4))
    rows = (("p", None, "x/service/-/a"), ("c", "p", "x/service/-/b"))
    assert run(step, *[spans(n * MINUTE, *rows) for n in range(12)]) == [("x/service/-/a", "x/service/-/b", 1)]
    assert step.snapshot()["waiting"].height == 2
