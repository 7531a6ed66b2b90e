"""The whole engine in one process: the same bytes whatever happens on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl
import pytest

from engine.detect import DetectStep
from engine.errors import StateMismatch
from engine.messages import ANOMALIES, FEATURES, FITS, INCIDENTS, Message
from engine.runners.embedded import Pipeline, replay
from engine.store import MemoryStore
from engine.types import END_MS, Incident, Mark
from tests.engine.parts import MINUTE_MS, Frames, ThresholdConfig, canonical, config, telemetry


def incidents(messages: Sequence[Message]) -> list[Incident]:
    return [m.payload for m in messages if m.stream == INCIDENTS and isinstance(m.payload, Incident)]


def test_a_jump_becomes_one_incident_in_the_window_it_happened() -> None:
    out: list[Message] = []
    accounts = replay(config(), Frames(telemetry(fault_at=30)), out.append)
    opened = [one for one in incidents(out) if one.opened_ms == 31 * MINUTE_MS]
    assert len({one.id for one in opened}) == 1
    assert any(a.entity == "x/service/-/s3" and a.indicator == "cpu" for a in opened[0].anomalies)
    assert "alarm budget" in opened[0].transitions[0].reason
    assert accounts.sent == accounts.accepted == sum(f.height for _, f in telemetry().values())


@pytest.mark.parametrize("batch", [7, 100, 10_000])
def test_batches_make_no_difference(batch: int) -> None:
    one: list[Message] = []
    other: list[Message] = []
    replay(config(), Frames(telemetry(), batch=333), one.append)
    replay(config(), Frames(telemetry(), batch=batch), other.append)
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize("crashes", [[3], [10, 11, 40], [1, 2, 3, 60]])
def test_crashes_make_no_difference(crashes: list[int]) -> None:
    undisturbed: list[Message] = []
    replay(config(), Frames(telemetry()), undisturbed.append)
    said: list[Message] = []
    store = MemoryStore()
    for stop_after in [*crashes, None]:
        replay(config(), Frames(telemetry()), said.append, store=store, checkpoint_every=4, stop_after=stop_after)
    assert canonical(said) == canonical(undisturbed)


def test_state_of_other_inputs_is_refused() -> None:
    store = MemoryStore()
    replay(config(), Frames(telemetry()), lambda _: None, store=store)
    logs_only = {"logs": telemetry()["logs"]}
    with pytest.raises(StateMismatch, match="metrics"):
        replay(config(), Frames(logs_only), lambda _: None, store=store)


@dataclass(frozen=True)
class Other(ThresholdConfig):
    limit: float = 5.0
    name: str = "other"


@pytest.mark.parametrize(
    ("detectors", "says"),
    [
        ((ThresholdConfig(), Other()), r"with detectors threshold, these settings say threshold, other; use another"),
        ((Other(name="threshold"),), r"with detector settings ThresholdConfig\(.*Other\(.*use another --state folder"),
    ],
)
def test_state_of_other_detectors_is_refused(detectors: tuple[ThresholdConfig, ...], says: str) -> None:
    store = MemoryStore()
    replay(config(), Frames(telemetry()), lambda _: None, store=store, checkpoint_every=4, stop_after=5)
    engine = config()
    other = replace(engine, detect=replace(engine.detect, detectors=detectors))
    with pytest.raises(StateMismatch, match=says):
        replay(other, Frames(telemetry()), lambda _: None, store=store)


def test_state_of_other_shards_or_another_seed_is_refused() -> None:
    store = MemoryStore()
    replay(config(), Frames(telemetry()), lambda _: None, store=store, checkpoint_every=4, stop_after=5)
    with pytest.raises(StateMismatch, match="with shards 8, these settings say 4;"):
        replay(config(shards=4), Frames(telemetry()), lambda _: None, store=store)
    engine = config()
    with pytest.raises(StateMismatch, match="with seed 0, these settings say 3;"):
        replay(replace(engine, detect=replace(engine.detect, seed=3)), Frames(telemetry()), lambda _: None, store=store)


def test_state_of_other_data_is_refused() -> None:
    class Named(Frames):
        identity = "src-1"

    store = MemoryStore()
    replay(config(), Named(telemetry()), lambda _: None, store=store, checkpoint_every=4, stop_after=5)
    with pytest.raises(StateMismatch, match="written from other data"):
        replay(config(), Frames(telemetry()), lambda _: None, store=store)
    replay(config(), Named(telemetry()), lambda _: None, store=store)


def detect_alone(shards_of_steps: list[list[int]]) -> list[pl.DataFrame]:
    """Run the detect step over the same partials with shards spread over several steps; return anomalies by id."""
    features: list[Message] = []
    engine = config()

    class Recording(Pipeline):
        def _send(self, messages: Sequence[Message]) -> None:
            features.extend(m for m in messages if m.stream == FEATURES)
            super()._send(messages)

    fits: list[Message] = []
    source = Frames(telemetry())
    pipeline = Recording(engine, source.partitions(), source.scopes, lambda _: None)
    inner = pipeline._steps["fit"].on_message
    pipeline._steps["fit"].on_message = lambda m: (fits.extend(out := inner(m)), out)[1]  # type: ignore[method-assign]
    for name in source.partitions():
        reader = source.open(name)
        while (batch := reader.next_batch()) is not None:
            pipeline.feed(*batch)
        pipeline.end(name)
    out: list[Message] = []
    for shards in shards_of_steps:
        step = DetectStep(engine.detect, shards)
        for message in [*features, *fits]:
            out += step.on_message(message)
    frames = [m.payload for m in out if m.stream == ANOMALIES and isinstance(m.payload, pl.DataFrame)]
    ends = [m.payload for m in out if m.stream == ANOMALIES and isinstance(m.payload, Mark)]
    assert max(mark.watermark_ms for mark in ends) == END_MS
    assert any(m.stream == FITS for m in fits)
    return [pl.concat(frames).sort("id")]


def test_how_shards_are_spread_makes_no_difference() -> None:
    one = detect_alone([list(range(8))])
    three = detect_alone([[0, 3, 6], [1, 4, 7], [2, 5]])
    assert one[0].write_json() == three[0].write_json()
