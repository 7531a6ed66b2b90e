"""The values that flow through OpsBrain: frozen, plain data, units in the names.

Times are Unix milliseconds of event time; intervals are half-open `[start_ms, end_ms)`. Missing numbers are NaN and
"not ready" is NaN or None, never 0. Ids are hashes of content (`engine.ids`), so that a repeat is recognised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.numbered import Rows
from engine.schemas import Kind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

State = dict[str, Any]
"""Plain data (dicts, lists, text, numbers, bytes, numpy arrays, polars frames) with a key `version`."""


@dataclass(frozen=True, slots=True)
class Records:
    """Rows of one kind from one input partition, in that partition's order.

    `frame` has the schema `engine.schemas.SCHEMAS[kind]`, or is numbered; `next_offset` is the position to go on from
    after this batch.
    """

    kind: Kind
    frame: Rows
    input: str
    next_offset: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message, or rows of one, that could not be used: where it was, why, and its scrubbed body.

    part    tells several letters of one message apart
    rows    for how many rows it stands; 1 for a message that cannot be decoded at all
    """

    input: str
    offset: int
    reason: str
    body: str
    part: int = 0
    rows: int = 1

    @property
    def key(self) -> str:
        """Return what tells this letter from every other one."""
        return f"{self.input}/{self.offset}" + (f"/{self.part}" if self.part else "")


@dataclass(frozen=True, slots=True)
class Series:
    """What is measured: an indicator of an entity.

    `form` says how to read the numbers: "gauge" a level, "rate" per second, "count" whole events in one window,
    "ratio" in [0, 1], "duration" in milliseconds, "money" in US dollars. `entity` is `scope/kind/namespace/name`.
    """

    entity: str
    indicator: str
    form: str = "gauge"


class SeriesIndex:
    """Dense numbers for the series of one shard: append-only, so that detectors can keep arrays by number.

    Numbers are internal to a shard and never shown; nothing may depend on their order.
    """

    __slots__ = ("_numbers", "_series")

    def __init__(self, series: Sequence[Series] = ()) -> None:
        self._series: list[Series] = list(series)
        self._numbers: dict[Series, int] = {one: number for number, one in enumerate(self._series)}

    def __len__(self) -> int:
        return len(self._series)

    def __getitem__(self, number: int) -> Series:
        return self._series[number]

    def number(self, series: Series) -> int:
        """Return the number of `series`, giving it the next one if it is new."""
        number = self._numbers.get(series)
        if number is None:
            number = self._numbers[series] = len(self._series)
            self._series.append(series)
        return number

    def known(self, series: Series) -> int | None:
        """Return the number of `series`, or None if it is new."""
        return self._numbers.get(series)

    def all(self) -> Sequence[Series]:
        """Return every series, by number."""
        return self._series


@dataclass(frozen=True, slots=True)
class Tick:
    """One closed window of one shard at one resolution.

    shard, resolution_ms, start_ms, end_ms
        which window; `end_ms - start_ms == resolution_ms`.
    index
        names of the shard's series; shared by its ticks, and only ever appended to.
    series : (N,) int64
        numbers in `index`, each at most once, in no promised order.
    values : (N,) float64, read-only
        NaN where a series is present without a usable number.
    zeros : (N,) int64
        For counts: windows before this one in which the series' input spoke and the series did not yet exist
        (its unseen history was zero that often). 0 for anything measured, and for series known before.
    """

    shard: int
    resolution_ms: int
    start_ms: int
    end_ms: int
    index: SeriesIndex
    series: Ints
    values: Floats
    zeros: Ints


@dataclass(frozen=True, slots=True)
class Scores:
    """What one detector thinks of each series of a tick; every array is (N,) and aligned with `tick.series`.

    raw         in the detector's own scale, larger is stranger; NaN when not ready
    tail_p      probability of a value at least this strange when nothing is wrong, in (0, 1]; NaN when not ready
    direction   +1 above, -1 below what was expected, 0 neither or unknown
    expected_lo, expected_hi
                the band in which the value was expected, in the series' own unit; NaN when unknown
    A detector of whole entities gives its score to the series it blames most and NaN to the rest.
    """

    raw: Floats
    tail_p: Floats
    direction: NDArray[np.int8]
    expected_lo: Floats
    expected_hi: Floats


@dataclass(frozen=True, slots=True)
class History:
    """Windows of values for fitting and ranking: `frame` has one row a (window, series).

    Columns: start_ms Int64, entity String, indicator String, form String, value Float64; sorted by
    (entity, indicator, start_ms). Half-open `[from_ms, until_ms)`.
    """

    scope: str
    resolution_ms: int
    from_ms: int
    until_ms: int
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Fit:
    """A model fitted on history before `until_ms`, used for windows that start at or after `from_ms`.

    A failure is a Fit too: `state` is None and `failure` says why, so that a replay takes the same turn.
    """

    scope: str
    model: str
    until_ms: int
    from_ms: int
    state: State | None
    sha256: str
    failure: str = ""


class Severity(StrEnum):
    """How bad it is for users, apart from how sure we are."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A series that left what was expected of it, in one window."""

    id: str
    entity: str
    indicator: str
    form: str
    detectors: tuple[str, ...]
    start_ms: int
    end_ms: int
    direction: int
    expected_lo: float
    expected_hi: float
    observed: float
    tail_p: float
    severity: Severity
    text: str = ""  # what the indicator stands for where its name does not say it (a log template's text)


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was done to an entity: a rollout, a changed ConfigMap, a node that went away.

    `kind` is one of "deployment", "config", "scale", "node", "event"; `before`/`after` name object versions
    (`engine.inventory`) where objects were seen, else they are empty.
    """

    id: str
    entity: str
    ts_ms: int
    kind: str
    summary: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One line of why: which indicator, what kind of sign, which way, how strong (0 to 1), since when."""

    entity: str
    indicator: str
    kind: str  # "metric", "log", "event", "span", "change", "cost", "topology"
    direction: int
    strength: float
    at_ms: int
    text: str
    expected_lo: float = float("nan")
    expected_hi: float = float("nan")
    observed: float = float("nan")


@dataclass(frozen=True, slots=True)
class Cause:
    """One candidate: its score in [0, 1], the evidence that made it, and the path from it to the symptom."""

    entity: str
    score: float
    evidence: tuple[Evidence, ...]
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Causes, best first, or why there are none. Never both."""

    causes: tuple[Cause, ...]
    abstained: str | None = None

    def __post_init__(self) -> None:
        if bool(self.causes) == (self.abstained is not None):
            raise ValueError("a ranking names causes or says why it abstains, never both and never neither")


class Phase(StrEnum):
    """Where an incident stands."""

    OPEN = "open"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Transition:
    """One step in an incident's life, with the reason that an operator is shown."""

    at_ms: int
    what: str  # "opened", "joined", "updated", "resolved"
    reason: str


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident at one revision; a later revision of the same id replaces it."""

    id: str
    revision: int
    scope: str
    phase: Phase
    severity: Severity
    title: str
    opened_ms: int
    updated_ms: int
    resolved_ms: int | None
    entities: tuple[str, ...]
    anomalies: tuple[Anomaly, ...]
    changes: tuple[Change, ...]
    transitions: tuple[Transition, ...]
    ranking: Ranking


class Risk(StrEnum):
    """What applying a fix may cost, ordered from harmless to never by machine."""

    SAFE = "safe"
    NEEDS_APPROVAL = "needs_approval"
    DISPLAY_ONLY = "display_only"


@dataclass(frozen=True, slots=True)
class Action:
    """One change to one Kubernetes object.

    `verb` is "patch" (JSON Patch, RFC 6902), "create" or "delete"; `target` is (api_version, kind, namespace, name);
    `body` is the list of patch operations or the whole manifest, as JSON text.
    """

    verb: Literal["patch", "create", "delete"]
    api_version: str
    kind: str
    namespace: str
    name: str
    body: str


class Outcome(StrEnum):
    """A check that could not run is inconclusive, never passed."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


CHECKS = ("valid", "permitted", "applies", "undo exact", "symptom gone")
"""The checks a fix goes through, in order."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one check: what was run and what it showed."""

    check: str
    outcome: Outcome
    ran: str
    showed: str


@dataclass(frozen=True, slots=True)
class Fix:
    """A proposal: actions, the exact undo, its risk and how much it touches, and what was proven of it."""

    id: str
    revision: int
    incident_id: str
    playbook: str
    entity: str
    title: str
    rationale: str
    actions: tuple[Action, ...]
    undo: tuple[Action, ...]
    risk: Risk
    blast_radius: tuple[str, ...]  # entities that may notice
    expires_ms: int
    verdicts: tuple[Verdict, ...]

    @property
    def outcome(self) -> Outcome:
        """Return the weakest verdict: a fix is as good as its weakest required check."""
        outcomes = {verdict.outcome for verdict in self.verdicts}
        for worst in (Outcome.FAILED, Outcome.INCONCLUSIVE):
            if worst in outcomes:
                return worst
        return Outcome.PASSED if outcomes else Outcome.INCONCLUSIVE


@dataclass(frozen=True, slots=True)
class Inputs:
    """The declared set of inputs: what has to be waited for. Itself a record, sent before any row.

    `inputs` maps the name of each input partition to its resolution in milliseconds.
    """

    inputs: Mapping[str, int]
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a window an input spoke in: rows, and the first and last time they bear."""

    rows: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A promise of producers: every row before `watermark_ms` has been sent (later ones would be late).

    `windows` says what the producer held in each window it closed with this mark: {start_ms: {"scope/kind": Coverage}};
    steps after the first name their windows with an empty inner dict. END_MS stands for the end of the input.
    """

    producers: tuple[str, ...]
    resolution_ms: int
    watermark_ms: int
    windows: Mapping[int, Mapping[str, Coverage]] = field(default_factory=dict)


END_MS = 1 << 62
"""Watermark of an input that has ended; larger than any event time."""
