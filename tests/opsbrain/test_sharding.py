"""Shards spread over one step or five, with the detectors as shipped and the bundled recording: the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from engine.detect import DetectStep
from engine.flow import EngineConfig
from engine.messages import FEATURES, FITS, HISTORY, Message
from engine.runners.embedded import Pipeline
from engine.schemas import Kind
from ingest.registry import source
from opsbrain.commands.demo import RECORDING
from opsbrain.settings import Settings
from opsbrain.wiring import engine_config


class Recorded(Pipeline):
    """A pipeline that keeps what the detect step reads."""

    def __init__(self, config: EngineConfig, inputs: Mapping[str, Kind], scopes: Sequence[str]) -> None:
        self.read: list[Message] = []
        super().__init__(config, inputs, scopes, lambda _: None)
        fit = self._steps["fit"].on_message

        def keep(message: Message) -> list[Message]:
            made = fit(message)
            self.read += [one for one in made if one.stream == FITS]
            return made

        self._steps["fit"].on_message = keep  # type: ignore[method-assign]

    def _send(self, messages: Sequence[Message]) -> None:
        self.read += [one for one in messages if one.stream == FEATURES]
        super()._send(messages)


def scored(config: EngineConfig, read: Sequence[Message], steps: int) -> pl.DataFrame:
    """Return every value with its band and tail, from `steps` detect steps that share the shards."""
    frames: list[pl.DataFrame] = []
    for step in range(steps):
        detect = DetectStep(config.detect, range(step, config.detect.shards, steps))
        for message in read:
            frames += [
                one.payload
                for one in detect.on_message(message)
                if one.stream == HISTORY and isinstance(one.payload, pl.DataFrame)
            ]
    return pl.concat(frames).sort("start_ms", "entity", "indicator", "form")


def test_how_shards_are_spread_makes_no_difference_to_the_shipped_detectors() -> None:
    # fits every two minutes, so that forests take part within thirteen
    settings = Settings()
    settings = replace(settings, pipeline=replace(settings.pipeline, fit_every_s=120, fit_delay_s=20))
    recorded = source("opsbrain", RECORDING, None)
    config = engine_config(settings, resolution_ms=recorded.resolution_ms, keep_history=True)
    pipeline = Recorded(config, recorded.partitions(), recorded.scopes)
    for name in recorded.partitions():
        reader = recorded.open(name)
        while (batch := reader.next_batch()) is not None:
            pipeline.feed(*batch)
        pipeline.end(name)
    one, five = scored(config, pipeline.read, 1), scored(config, pipeline.read, 5)
    assert one.height > 5_000
    assert any(message.stream == FITS for message in pipeline.read)
    assert one.write_json() == five.write_json()
