"""Small parts from above the engine, for its tests: a threshold detector, a miner that cuts, a ranker that counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.correlate import CorrelateConfig
from engine.detect import DetectConfig
from engine.fit import FitConfig
from engine.fit_schedule import FitSchedule
from engine.flow import EngineConfig
from engine.join import JoinConfig
from engine.messages import Message
from engine.schemas import Kind, conform
from engine.scope import ScopeConfig
from engine.types import Cause, DeadLetter, Fit, History, Ranking, Records, Scores, State, Tick
from engine.values import to_json
from engine.window import WindowConfig

MINUTE_MS = 60_000


class Threshold:
    """Anything that moved by more than 5 since the last window is strange; remembers one number a series."""

    def __init__(self, resume: State | None = None) -> None:
        self.last: dict[str, float] = dict(resume["last"]) if resume else {}
        self.fit = resume["fit"] if resume else 0

    def score(self, tick: Tick) -> Scores:
        before = np.array([self.last.get(str(n), np.nan) for n in tick.series.tolist()])
        raw = np.abs(tick.values - before)
        tail = np.where(np.isnan(raw), np.nan, np.where(raw > 5, 1e-9, 0.5))
        nothing = np.full(len(raw), np.nan)
        return Scores(raw, tail, np.sign(np.nan_to_num(tick.values - before)).astype(np.int8), before, nothing)

    def learn(self, tick: Tick) -> None:
        self.last |= {str(n): v for n, v in zip(tick.series.tolist(), tick.values.tolist(), strict=True)}

    def adopt(self, fit: Fit) -> None:
        self.fit = fit.until_ms

    def snapshot(self) -> State:
        return {"version": 1, "last": dict(sorted(self.last.items())), "fit": self.fit}


@dataclass(frozen=True)
class Rows:
    """A fitter that only counts the rows it was given."""

    name: str = "threshold"
    resolution: str = "base"

    def fit(self, history: History, seed: int) -> State:
        return {"version": 1, "rows": history.frame.height, "seed": seed}


@dataclass(frozen=True)
class ThresholdConfig:
    name: str = "threshold"

    def build(self, seed: int, resume: State | None = None) -> Threshold:
        return Threshold(resume)

    def fitter(self) -> Rows:
        return Rows()


class FirstWords:
    """Templates are the first word of a signature."""

    def assign(self, service: str, signatures: Sequence[str], counts: Sequence[int]) -> list[str]:
        return [one.split(" ")[0] for one in signatures]

    def text(self, template_id: str) -> str:
        return template_id

    def snapshot(self) -> State:
        return {"version": 1}


class FirstWordsConfig:
    def build(self, resume: State | None = None) -> FirstWords:
        return FirstWords()


class First:
    """Ranks the first entity first."""

    def rank(self, incident, topology, features) -> Ranking:
        return Ranking((Cause(incident.entities[0], 0.5, (), (incident.entities[0],)),))


class Nothing:
    """Proposes nothing, sees no changes, learns no edges."""

    def propose(self, incident, ranking, inventory, now_ms) -> list:
        return []

    def changes(self, events, objects, inventory) -> list:
        return []

    def edges_of_objects(self, objects) -> list:
        return []


def config(shards: int = 8) -> EngineConfig:
    schedule = FitSchedule(10 * MINUTE_MS, 2 * MINUTE_MS)
    detect = DetectConfig((ThresholdConfig(),), FirstWordsConfig(), schedule, shards=shards, keep_history=True)
    scope = ScopeConfig(CorrelateConfig(confirm_windows=0), First(), Nothing(), Nothing(), Nothing(), shards=shards)
    return EngineConfig(
        WindowConfig(shards=shards), detect, JoinConfig(), FitConfig((Rows(),), schedule, shards=shards), scope
    )


class Frames:
    """A source whose inputs are frames; each batch is at most `batch` rows. Offsets that are -1 mark a bad message."""

    resolution_ms = MINUTE_MS
    scopes = ("x",)

    def __init__(self, inputs: dict[str, tuple[Kind, pl.DataFrame]], batch: int = 100) -> None:
        self.inputs = inputs
        self.batch = batch

    def partitions(self) -> dict[str, Kind]:
        return {name: kind for name, (kind, _) in self.inputs.items()}

    def open(self, partition: str, offset: int = 0) -> FrameReader:
        kind, frame = self.inputs[partition]
        return FrameReader(partition, kind, frame, offset, self.batch)


class FrameReader:
    def __init__(self, name: str, kind: Kind, frame: pl.DataFrame, offset: int, batch: int) -> None:
        self.name, self.kind, self.frame, self._position, self.batch = name, kind, frame, offset, batch

    def next_batch(self) -> tuple[Records | None, Sequence[DeadLetter]] | None:
        rows = self.frame.filter(pl.col("offset") >= self._position).head(self.batch)
        if rows.is_empty():
            return None
        self._position = int(rows["offset"].to_numpy().max()) + 1
        return Records(self.kind, rows, self.name, self._position), []

    @property
    def position(self) -> int:
        return self._position

    def close(self) -> None:
        pass


def telemetry(minutes: int = 40, entities: int = 5, fault_at: int = 30) -> dict[str, tuple[Kind, pl.DataFrame]]:
    """Metrics, logs and spans of a few services; one of them jumps at minute `fault_at`."""
    rng = np.random.default_rng(7)
    n = minutes * 60
    ts = np.arange(n) * 1000
    base = {"ts_ms": ts, "offset": np.arange(n), "entity": [f"x/service/-/s{i % entities}" for i in range(n)]}
    jump = np.where((ts >= fault_at * MINUTE_MS) & (np.arange(n) % entities == 3), 30.0, 0.0)
    metrics = base | {"indicator": "cpu", "instance": "", "form": "gauge", "value": rng.normal(10, 0.1, n) + jump}
    counters = base | {"indicator": "requests", "instance": "a", "form": "counter", "value": np.arange(n) * 1.0}
    counters["offset"] = np.arange(n) + n
    both = pl.concat([conform("metrics", pl.DataFrame(one)) for one in (metrics, counters)]).sort("ts_ms", "offset")
    logs = base | {"severity": "info", "body": "b", "signature": [f"sig{i % 3} hello" for i in range(n)]}
    spans = base | {
        "trace_id": [f"t{i // 4}" for i in range(n)],
        "span_id": [f"p{i}" for i in range(n)],
        "parent_span_id": [None if i % 4 == 3 else f"p{i + 1}" for i in range(n)],
        "operation": "op",
        "duration_ms": rng.normal(10, 0.1, n),
        "error": False,
    }
    return {
        "metrics": ("metrics", both.with_columns(offset=pl.int_range(pl.len(), dtype=pl.Int64))),
        "logs": ("logs", conform("logs", pl.DataFrame(logs))),
        "spans": ("spans", conform("spans", pl.DataFrame(spans))),
    }


def canonical(messages: Sequence[Message]) -> dict[tuple[str, str], bytes]:
    """Return what was said, by identity: a repeat with other bytes would show."""
    said: dict[tuple[str, str], bytes] = {}
    for message in messages:
        payload = message.payload
        data = payload.write_json().encode() if isinstance(payload, pl.DataFrame) else to_json(payload)
        assert said.setdefault((message.stream, message.key), data) == data, f"{message.key} changed"
    return said
