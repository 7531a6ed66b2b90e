"""Fits take effect at an event time, over gaps too; cost has days of its own; scopes do not mix."""

from __future__ import annotations

import polars as pl

from engine.fit import FitConfig, FitStep
from engine.fit_schedule import FitSchedule
from engine.messages import FITS, HISTORY, Message
from engine.runners.embedded import Pipeline, replay
from engine.schemas import Kind, conform
from engine.types import Fit
from engine.window import DAY_MS
from tests.engine.parts import MINUTE_MS, Frames, config, telemetry

Inputs = dict[str, tuple[Kind, pl.DataFrame]]


def fits_of(inputs: Inputs) -> list[Fit]:
    """Replay `inputs`; return every fit that was made."""
    source = Frames(inputs)
    pipeline = Pipeline(config(), source.partitions(), source.scopes, lambda _: None)
    made: list[Fit] = []
    inner = pipeline._steps["fit"].on_message

    def spy(message: Message) -> list[Message]:
        out = inner(message)
        made.extend(one.payload for one in out if one.stream == FITS and isinstance(one.payload, Fit))
        return out

    pipeline._steps["fit"].on_message = spy  # type: ignore[method-assign]
    for name in source.partitions():
        reader = source.open(name)
        while (batch := reader.next_batch()) is not None:
            pipeline.feed(*batch)
        pipeline.end(name)
    return made


def test_fits_come_at_their_times_and_only_where_there_was_something_to_learn() -> None:
    early = telemetry(minutes=15)
    late = {
        name: (kind, frame.with_columns(ts_ms=pl.col("ts_ms") + 600 * MINUTE_MS, offset=pl.col("offset") + 10**6))
        for name, (kind, frame) in telemetry(minutes=25).items()
    }
    both: Inputs = {name: (kind, pl.concat([frame, late[name][1]])) for name, (kind, frame) in early.items()}
    until = [fit.until_ms // MINUTE_MS for fit in fits_of(both)]
    assert until == [10, 20, 610, 620]


def test_a_fit_knows_nothing_of_what_came_after_it() -> None:
    sizes = [fit.state["rows"] for fit in fits_of(telemetry(minutes=35)) if fit.state is not None]
    shorter = [fit.state["rows"] for fit in fits_of(telemetry(minutes=25)) if fit.state is not None]
    assert sizes[: len(shorter)] == shorter


def costs(days: int) -> pl.DataFrame:
    rows = [
        {
            "ts_ms": (day + 1) * DAY_MS,
            "offset": day,
            "entity": "x/account/-/ec2",
            "period_start_ms": day * DAY_MS,
            "period_end_ms": (day + 1) * DAY_MS,
            "amount_usd": 10.0 + day,
            "estimated": True,
        }
        for day in range(days)
    ]
    return conform("costs", pl.DataFrame(rows))


def test_minutes_do_not_wait_for_days() -> None:
    history: list[Message] = []
    inputs: Inputs = {**telemetry(minutes=15), "costs": ("costs", costs(3))}
    replay(config(), Frames(inputs), lambda _: None, tap=history.append)
    frames = [one.payload for one in history if one.stream == HISTORY and isinstance(one.payload, pl.DataFrame)]
    values = pl.concat(frames)
    daily = values.filter(pl.col("indicator") == "cost.usd").sort("start_ms")
    assert daily["value"].to_list() == [10.0, 11.0]  # the third day's estimate has not settled
    assert daily["start_ms"].to_list() == [0, DAY_MS]
    assert daily["resolution_ms"].unique().to_list() == [DAY_MS]
    assert values.filter(pl.col("indicator") == "cpu")["start_ms"].n_unique() == 15


def test_scopes_do_not_mix() -> None:
    x = telemetry(minutes=40)["metrics"][1]
    y = x.with_columns(entity=pl.col("entity").str.replace("x/", "y/", literal=True), value=pl.lit(1.0))
    said: list[Message] = []
    source = Frames({"x": ("metrics", x), "y": ("metrics", y)})
    source.scopes = ("x", "y")
    replay(config(), source, said.append)
    assert {one.scope for one in said if one.stream == "incidents"} == {"x"}


def test_history_that_nobody_fits_is_not_kept():
    step = FitStep(FitConfig((), FitSchedule(MINUTE_MS, 0)))
    before = step.snapshot()
    frame = pl.DataFrame({"resolution_ms": [60_000], "start_ms": [0]})
    assert step.on_message(Message("history", "x/60000/0/0", frame, "x")) == []
    assert step.snapshot() == before
