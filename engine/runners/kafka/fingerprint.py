"""What saved state and committed offsets depend on, in words, so that a mismatch can say which setting it was.

A snapshot is true only for the program and the settings that it was made with, and an offset only for the topics
that what lies below it went to. Both carry that along. Only what state means belongs here: what may change from one
moment to the next (receivers, severities, runbooks, rankers, how many workers there are) does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Final

from engine.errors import StateMismatch
from engine.flow import EngineConfig
from engine.runners.kafka.config import KafkaConfig
from engine.window import WindowConfig

STATE: Final = 1
"""Raised when the state of a step comes to mean something else, and its own version cannot tell."""

PROGRAM: Final = "program"
REMEDY: Final = "start anew from the telemetry with a new kafka.topic_prefix and a new kafka.group_prefix"
_SHOWN: Final = 160  # characters of a value


def fingerprint(engine: EngineConfig) -> dict[str, str]:
    """Return what the state of the steps depends on, by the name that people know it under."""
    window, detect = engine.window, engine.detect
    return {
        "state version": str(STATE),
        "pipeline.resolution_s": f"{window.resolution_ms / 1000:g}",
        "pipeline.shards": str(window.shards),
        "pipeline.fit_every_s": f"{detect.fit_schedule.every_ms / 1000:g}",
        "pipeline.fit_delay_s": f"{detect.fit_schedule.delay_ms / 1000:g}",
        "detectors": "; ".join(repr(one) for one in detect.detectors),
        "log templates": repr(detect.templates),
        "seed": str(detect.seed),
        PROGRAM: _program(),
    }


def reads_for(config: KafkaConfig, window: WindowConfig) -> dict[str, str]:
    """Return what a committed offset of telemetry depends on: where what lies below went, and in which windows."""
    return {"kafka.topic_prefix": config.topic_prefix, "pipeline.resolution_s": f"{window.resolution_ms / 1000:g}"}


def check_state(saved: Mapping[str, str], now: Mapping[str, str], what: str) -> None:
    """Raise StateMismatch, in one line that names all that differs, when state was made otherwise; `what` it is."""
    if changed := _changed(saved, now):
        by = saved.get(PROGRAM, "another version")
        raise StateMismatch(f"kafka: {what} was written by {by} with other settings: {changed}; set back, or {REMEDY}")


def check_reads(saved: Mapping[str, str], now: Mapping[str, str], group: str) -> None:
    """Raise StateMismatch when a group's offsets are about other topics or windows than settings say."""
    if saved and (changed := _changed(saved, now)):
        raise StateMismatch(
            f"kafka: the group {group} has read telemetry with other settings: {changed}; set back, or {REMEDY}"
        )


def _changed(saved: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return what differs; what one side does not name was not told apart by the program that wrote it."""
    return ", ".join(
        f"{name} was {_cut(saved[name])} and is {_cut(value)}"
        for name, value in now.items()
        if name != PROGRAM and name in saved and saved[name] != value
    )


def _cut(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}..."


def _program() -> str:
    try:
        return f"opsbrain {metadata.version('opsbrain')}"
    except metadata.PackageNotFoundError:
        return "opsbrain of an unknown version"
