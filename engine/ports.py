"""The contracts between the parts: what a detector, a source, a ranker, a sink has to promise.

Each part has a frozen `Config`, validated without the world, that builds the running part from a seed and an optional
resume state. All state derives from that resume state and comes out again through `snapshot`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from engine.inventory import Inventory
from engine.numbered import Rows, expanded
from engine.schemas import Kind
from engine.topology import Topology
from engine.types import Action, Change, DeadLetter, Fit, Fix, History, Incident, Ranking, Records, Scores, State, Tick


class Detector(Protocol):
    """Scores the series of one shard. The engine scores a tick first and then learns it."""

    def score(self, tick: Tick) -> Scores:
        """Return how strange each series is. Pure: asking twice gives the same answer."""

    def learn(self, tick: Tick) -> None:
        """Take the tick into the model of normal."""

    def adopt(self, fit: Fit) -> None:
        """Use `fit` from now on; detectors without a fitter ignore it."""

    def snapshot(self) -> State:
        """Return a copy of all state, as plain data."""


class DetectorConfig(Protocol):
    """Builds detectors of one kind."""

    @property
    def name(self) -> str: ...

    def build(self, seed: int, resume: State | None = None) -> Detector:
        """Return a detector for one shard."""

    def fitter(self) -> Fitter | None:
        """Return what fits this detector's models off the hot path, or None."""


class Fitter(Protocol):
    """Fits a model off the hot path. `name` is the model's name, equal to its detector's."""

    @property
    def name(self) -> str: ...

    @property
    def resolution(self) -> str:
        """Return "base" or "daily": which windows it learns from."""

    def fit(self, history: History, seed: int) -> State:
        """Return the model as plain data; raise DataError when the history cannot carry one."""


class LogTemplates(Protocol):
    """Turns masked signatures of one service's lines into template ids, at window close and in sorted order."""

    def assign(self, service: str, signatures: Sequence[str], counts: Sequence[int]) -> list[str]:
        """Return the template id of each signature (same order); learns new templates."""

    def text(self, template_id: str) -> str:
        """Return the template's text, or "" if unknown."""

    def snapshot(self) -> State: ...


class LogTemplatesConfig(Protocol):
    """Builds template miners."""

    def build(self, resume: State | None = None) -> LogTemplates: ...


class Reader(Protocol):
    """Reads one input partition from a position on."""

    def next_batch(self) -> tuple[Records | None, Sequence[DeadLetter]] | None:
        """Return the next rows (if any) and what could not be read, or None at the end of a recorded input."""

    @property
    def position(self) -> int:
        """Return the offset of the next message."""

    def close(self) -> None: ...


class Source(Protocol):
    """Where telemetry comes from: a set of input partitions, each an ordered stream of Records of one kind."""

    @property
    def resolution_ms(self) -> int:
        """Return the step of the recorded data, or 0 when the source has none of its own."""

    @property
    def scopes(self) -> tuple[str, ...]: ...

    def partitions(self) -> Mapping[str, Kind]:
        """Return the input partitions by name."""

    def open(self, partition: str, offset: int = 0) -> Reader:
        """Return a reader that stands at `offset`; raise SourceError when the input cannot be read."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What came out of messages: every row of theirs is in exactly one of the three.

    batch       rows in the order of their messages; schema of the format's kind, those of metrics may be numbered
    letters     messages and rows that could not be used
    dropped     how many rows were left out on purpose, by reason (stale markers, ...)
    """

    batch: Rows
    letters: Sequence[DeadLetter] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> pl.DataFrame:
        """Return the rows with all of their columns."""
        return expanded(self.batch)


class Format(Protocol):
    """One wire format: message bodies in, rows out. Stateless and pure."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> Kind: ...

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return the rows of all readable messages, and dead letters for what is not; never raises.

        `received_ms` says when each message came in (0, or nothing at all, where that is not known), for those that
        bear no time of their own.
        """


class TopologyLearner(Protocol):
    """Learns edges from rows that name them; edges from spans come from the engine's join."""

    def edges_of_objects(self, objects: pl.DataFrame) -> list[tuple[str, str, str]]:
        """Return (source, target, kind) edges that Kubernetes objects show."""


class Ranker(Protocol):
    """Names root causes."""

    def rank(self, incident: Incident, topology: Topology, features: History) -> Ranking:
        """Return causes, best first, or an abstention that says why. Pure.

        `incident.ranking` is what was thought before. `features` holds recent windows of the scope: for each entity and
        window its strangest series: columns of `History.frame` and tail_p, direction, expected_lo, expected_hi.
        """


class Proposer(Protocol):
    """Offers fixes that were proven in a sandbox."""

    def propose(self, incident: Incident, ranking: Ranking, inventory: Inventory, now_ms: int) -> Sequence[Fix]:
        """Return fixes, best first, each with a verdict for every check of `engine.types.CHECKS`. Pure."""


class ChangeDetector(Protocol):
    """Reads changes out of events and successive object versions."""

    def changes(self, events: pl.DataFrame, objects: pl.DataFrame, inventory: Inventory) -> list[Change]:
        """Return what was changed, in time order; stores the object versions in `inventory`."""


class Sandbox(AbstractContextManager["Sandbox"], Protocol):
    """A shadow copy in which actions are tried."""

    def apply(self, actions: Sequence[Action]) -> None:
        """Apply actions in order; raise DataError naming the first that does not apply."""

    def observe(self) -> Mapping[tuple[str, str, str, str], str]:
        """Return every object's canonical manifest as it is now."""

    def restore(self) -> None:
        """Return to the state at entry."""


class Sink(Protocol):
    """Takes what the pipeline emits; raises Retryable or Permanent."""

    def write(self, batch: Sequence[bytes]) -> None: ...

    def flush(self) -> None: ...


class StateStore(Protocol):
    """Keeps checkpoints: staged chunks become visible together, at commit."""

    def load(self, checkpoint: str) -> dict[str, State]:
        """Return the state saved under `checkpoint`; raise StateMismatch when it is damaged or of another version."""

    def stage(self, name: str, state: State) -> None:
        """Write one part of the next checkpoint."""

    def commit(self, checkpoint: str) -> None:
        """Make everything staged the newest checkpoint, whole or not at all."""

    def last(self) -> str | None:
        """Return the newest checkpoint, or None."""

    def close(self) -> None: ...
