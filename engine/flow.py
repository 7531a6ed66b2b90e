"""The architecture in one place: which steps there are, what each reads and writes, and how they are built.

window (per input) -> detect (per shard) -> scope (per cluster or tenant) -> incidents, fixes
       |-> join (per trace shard) -> topology ----^
       detect -> history -> fit (per scope) -> fits -> detect
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engine import messages as streams
from engine.detect import DetectConfig, DetectStep
from engine.fit import FitConfig, FitStep
from engine.join import JoinConfig, JoinStep
from engine.scope import ScopeConfig, ScopeStep
from engine.types import State
from engine.window import WindowConfig

Step = DetectStep | JoinStep | ScopeStep | FitStep


@dataclass(frozen=True, slots=True)
class Wire:
    """One step's place in the flow: what it is called and which streams it reads."""

    step: str
    reads: tuple[str, ...]


FLOW: Final[tuple[Wire, ...]] = (
    Wire("detect", (streams.FEATURES, streams.FITS)),
    Wire("join", (streams.SPANS,)),
    Wire("fit", (streams.HISTORY,)),
    Wire("scope", (streams.ANOMALIES, streams.CONTEXT, streams.TOPOLOGY, streams.CHANGES)),
)

INPUTS_GO_TO: Final = (streams.FEATURES, streams.SPANS, streams.HISTORY, streams.CHANGES)
"""Streams on which the declared inputs are announced: one a step."""

OUTPUTS: Final = (streams.ANOMALIES, streams.INCIDENTS, streams.FIXES, streams.LATE, streams.DEADLETTERS)
"""Streams that leave the engine."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Everything the engine needs, parts from above included."""

    window: WindowConfig
    detect: DetectConfig
    join: JoinConfig
    fit: FitConfig
    scope: ScopeConfig

    def build(self, step: str, shards: Sequence[int], resume: State | None = None) -> Step:
        """Return a running step that owns `shards` (steps by scope ignore them)."""
        if step == "detect":
            return DetectStep(self.detect, shards, resume)
        if step == "join":
            return JoinStep(self.join, shards, resume)
        if step == "fit":
            return FitStep(self.fit, resume)
        return ScopeStep(self.scope, resume)
