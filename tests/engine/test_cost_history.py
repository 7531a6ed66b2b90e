"""A bill becomes history and at most a few anomalies, whatever order and however often it is told, over any crash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.anomalies import anomalies_of
from engine.detect import DetectStep
from engine.flow import EngineConfig
from engine.messages import ANOMALIES, CONTEXT, FEATURES, HISTORY, INCIDENTS, Message
from engine.partials import partials_of
from engine.runners.embedded import replay
from engine.schemas import conform
from engine.state_codec import decode_state, encode_state
from engine.store import MemoryStore
from engine.types import History, Incident, Inputs, Mark, State
from engine.window import DAY_MS
from tests.engine.parts import Frames, Rows, ThresholdConfig, canonical, config

Word = tuple[int, str, int, float, bool]
"""The day on which it is told, entity, the day it is about, amount, estimated."""


def bill(words: Sequence[Word]) -> pl.DataFrame:
    rows = [
        {
            "ts_ms": told * DAY_MS + at,
            "offset": at,
            "entity": f"x/account/-/{entity}",
            "period_start_ms": day * DAY_MS,
            "period_end_ms": (day + 1) * DAY_MS,
            "amount_usd": amount,
            "estimated": estimated,
        }
        for at, (told, entity, day, amount, estimated) in enumerate(sorted(words, key=lambda word: word[0]))
    ]
    return conform("costs", pl.DataFrame(rows, infer_schema_length=None))


class Seen:
    """What each fit of daily windows was shown, by the day it was made."""

    def __init__(self) -> None:
        self.by_day: dict[int, list[tuple[int, float]]] = {}


@dataclass(frozen=True)
class DailyRows(Rows):
    resolution: str = "daily"
    seen: Seen | None = None

    def fit(self, history: History, seed: int) -> State:
        rows = history.frame.select("start_ms", "value").rows()
        if self.seen is not None:
            self.seen.by_day[history.until_ms // DAY_MS] = [(start // DAY_MS, value) for start, value in rows]
        return {"version": 1, "values": [value for _, value in rows]}


@dataclass(frozen=True)
class DailyConfig(ThresholdConfig):
    def fitter(self) -> Rows:
        return DailyRows()


def daily(seen: Seen | None = None) -> EngineConfig:
    engine = config()
    detect = replace(engine.detect, detectors=(DailyConfig(),))
    return replace(engine, detect=detect, fit=replace(engine.fit, fitters=(DailyRows(seen=seen),)))


def run(words: Sequence[Word], batch: int = 100, seen: Seen | None = None) -> list[Message]:
    said: list[Message] = []
    frames = Frames({"costs": ("costs", bill(words))}, batch)
    replay(daily(seen), frames, said.append, tap=said.append)
    return [one for one in said if not isinstance(one.payload, Mark)]


def anomalous_days(said: Sequence[Message]) -> list[int]:
    frames = [one.payload for one in said if one.stream == ANOMALIES and isinstance(one.payload, pl.DataFrame)]
    return [one.start_ms // DAY_MS for frame in frames for one in anomalies_of(frame)]


def incidents(said: Sequence[Message]) -> set[str]:
    return {one.payload.id for one in said if one.stream == INCIDENTS and isinstance(one.payload, Incident)}


def month(jump_at: int, known: int = 31) -> list[Word]:
    """Return a first bill of a month in which one day cost more."""
    return [(known, "ec2", day, 90.0 if day == jump_at else 10.0, False) for day in range(31)]


def test_an_old_jump_in_a_first_bill_is_history() -> None:
    said = run(month(jump_at=12))
    assert anomalous_days(said) == []
    assert incidents(said) == set()
    history = pl.concat(
        [one.payload for one in said if one.stream == HISTORY and isinstance(one.payload, pl.DataFrame)]
    )
    assert history.sort("start_ms")["start_ms"].to_list() == [day * DAY_MS for day in range(31)]
    assert history.filter(pl.col("tail_p") <= 1e-6)["start_ms"].to_list() == [12 * DAY_MS, 13 * DAY_MS]


def test_a_jump_on_its_last_day_is_an_anomaly_of_that_day_and_one_incident() -> None:
    said = run(month(jump_at=30))
    assert anomalous_days(said) == [30]
    (incident,) = [one.payload for one in said if one.stream == INCIDENTS and isinstance(one.payload, Incident)][:1]
    assert incident.opened_ms == 32 * DAY_MS
    assert [(one.start_ms, one.end_ms) for one in incident.anomalies] == [(30 * DAY_MS, 31 * DAY_MS)]


def test_an_incomplete_first_word_is_not_what_is_scored() -> None:
    words = [(day + 1, "ec2", day, 3.0, True) for day in range(10)] + [
        (day + 2, "ec2", day, 10.0, True) for day in range(10)
    ]
    said = run(words)
    assert anomalous_days(said) == []
    frames = [one.payload for one in said if one.stream == HISTORY and isinstance(one.payload, pl.DataFrame)]
    assert set(pl.concat(frames)["value"].to_list()) == {10.0}


def test_fits_look_back_on_what_was_known_then() -> None:
    seen = Seen()
    words = [*month(jump_at=12), (33, "ec2", 12, 11.0, False), (35, "ec2", 34, 10.0, False)]
    run(words, seen=seen)
    assert {day: len(rows) for day, rows in seen.by_day.items()} == {31: 31, 33: 31, 35: 32}
    assert dict(seen.by_day[31])[12] == 90.0
    assert dict(seen.by_day[33])[12] == 11.0


def conclusions(said: Sequence[Message]) -> dict[tuple[str, str], bytes]:
    """Return what was said, marks left out: how many windows one mark closes is up to the cuts."""
    return canonical([one for one in said if not isinstance(one.payload, Mark)])


WORDS = st.lists(
    st.tuples(
        st.integers(3, 9), st.sampled_from(["ec2", "s3", "rds"]), st.integers(0, 8), st.sampled_from([1.0, 2.0, 50.0]),
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
)  # fmt: skip


@settings(max_examples=15)
@given(WORDS, st.integers(1, 40), st.lists(st.integers(1, 30), max_size=3))
def test_cuts_and_crashes_make_no_difference(words, batch, crashes) -> None:
    undisturbed: list[Message] = []
    fitted, refitted = Seen(), Seen()
    whole = Frames({"costs": ("costs", bill(words))})
    replay(daily(fitted), whole, undisturbed.append, tap=undisturbed.append)
    said: list[Message] = []
    store = MemoryStore()
    cut = Frames({"costs": ("costs", bill(words))}, batch)
    for stop_after in [*crashes, None]:
        engine = daily(refitted)
        replay(engine, cut, said.append, tap=said.append, store=store, checkpoint_every=2, stop_after=stop_after)
    assert conclusions(said) == conclusions(undisturbed)
    assert refitted.by_day == fitted.by_day


def partials(words: Sequence[Word]) -> list[Message]:
    """Return what two inputs say of the days, and the marks that close them one by one."""
    said: list[Message] = [Message(FEATURES, "inputs", Inputs({"a": DAY_MS, "b": DAY_MS}, ("x",)))]
    for window in range(max(word[0] for word in words) + 3):
        for number, input in enumerate("ab"):
            mine = [word for word in words if word[0] == window and (word[1] == "ec2") == bool(number)]
            if mine:
                frame = partials_of("costs", bill(mine), 8)
                frame = frame.with_columns(
                    input=pl.lit(input),
                    start_ms=pl.lit(window * DAY_MS, pl.Int64),
                    resolution_ms=pl.lit(DAY_MS, pl.Int64),
                )
                said.append(Message(FEATURES, f"{input}/{window * DAY_MS}", frame))
            mark = Mark((input,), DAY_MS, (window + 1) * DAY_MS, {window * DAY_MS: {}})
            said.append(Message(FEATURES, f"{input}/{(window + 1) * DAY_MS}", mark))
    return said


def rows_of(messages: Sequence[Message], stream: str) -> list[str]:
    frames = [one.payload for one in messages if one.stream == stream and isinstance(one.payload, pl.DataFrame)]
    return sorted(row for frame in frames for row in map(str, frame.rows()))


@settings(max_examples=10)
@given(WORDS, st.integers(0, 60))
def test_shards_and_a_resumed_step_make_no_difference(words, crash_at) -> None:
    detect = replace(config().detect, detectors=(ThresholdConfig(),))
    messages = partials(words)
    one: list[Message] = []
    step = DetectStep(detect, range(8))
    for message in messages:
        one += step.on_message(message)
    several: list[Message] = []
    for shards in ([0, 3, 6], [1, 4, 7], [2, 5]):
        step = DetectStep(detect, shards)
        for at, message in enumerate(messages):
            if at == crash_at:
                step = DetectStep(detect, shards, decode_state(encode_state(step.snapshot())))
            several += step.on_message(message)
    for stream in (ANOMALIES, CONTEXT, HISTORY):
        assert rows_of(one, stream) == rows_of(several, stream)
