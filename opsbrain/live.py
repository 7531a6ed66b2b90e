"""The live pipeline: reads journals as its inputs, runs the engine over them, and checkpoints.

Order of a checkpoint, so that a crash at any point costs nothing and repeats only what receivers recognise:
1. flush conclusions to the store, and from there to the outbox
2. stage the state of every step, with the journal positions that it contains
3. commit
4. drop the journal segments that the checkpoint has passed

Idleness is data: an input that stands at its journal's end and has been silent for a while gets an idle mark, which is
written to its journal first and takes effect when it is read from there. So a replay of the journal, after a crash or
by somebody else, takes the same turns.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from engine.cardinality import OVER_THE_LIMIT
from engine.errors import Retryable, SourceError, StateMismatch
from engine.flow import EngineConfig
from engine.ports import Format, StateStore
from engine.repeats import identified_by_request, request_hash
from engine.runners.embedded import Output, Pipeline
from engine.schemas import empty
from engine.skew import not_from_the_future
from engine.types import DeadLetter, Records, State
from opsbrain.collect import Collected
from opsbrain.dead_reasons import DeadReasons
from opsbrain.journal import Journal
from opsbrain.journal_reader import Damaged, Entry, IdleMark, JournalReader
from opsbrain.live_view import Received
from opsbrain.output import printable
from opsbrain.sources import Source

BATCH_MESSAGES: Final = 5_000  # a few MB: one step stays well under a second, so that a stop is heard soon
PART: Final = "live"
CHECKPOINTS: Final = "checkpoint.sqlite"  # in the store's folder

_log = logging.getLogger(__name__)

Flush = Callable[[Collected, int], None]
"""Takes everything collected, at a wall-clock time in milliseconds, and makes it durable."""

Held = Callable[[str, int], bool]
"""Whether an input, by name, must be waited for at a wall-clock time in milliseconds."""


@dataclass(frozen=True, slots=True)
class Input:
    """One input partition: a wire format and the journal of what came in it."""

    name: str
    format: Format
    journal: Journal


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """How the live pipeline runs.

    engine            the engine's configuration
    scopes            the scopes that are known from settings
    idle_after_ms     after how much silence an input no longer holds windows open
    checkpoint_ms     how often the state is saved
    """

    engine: EngineConfig
    scopes: tuple[str, ...]
    idle_after_ms: int = 30_000
    checkpoint_ms: int = 10_000


@dataclass(slots=True)
class _Running:
    """An input and where it stands; `heard_ms` is the wall clock when it last said anything."""

    input: Input
    reader: JournalReader
    heard_ms: int


class Live:
    """Runs the engine over journals. Not safe to share between threads; time is an argument."""

    def __init__(
        self,
        config: LiveConfig,
        inputs: Sequence[Input],
        store: StateStore,
        flush: Flush,
        started_ms: int,
        tap: Output | None = None,
        held: Held = lambda name, now_ms: False,
    ) -> None:
        """Resume from the last checkpoint in `store`; raise StateMismatch when it does not fit.

        `tap` sees the history stream, if the engine's configuration keeps one. `held` says of which inputs more of the
        past is on its way: however silent, their windows wait.
        """
        self._held = held
        self._config = config
        self._store = store
        self._flush_to = flush
        self._collected = Collected()
        self._checkpointed_ms = started_ms
        self._dirty = False
        resume = self._resume(inputs)
        positions: Mapping[str, int] = resume.get(PART, {}).get("positions", {})
        self._reasons = DeadReasons(resume.get(PART, {}).get("dead_reasons"))
        kinds = {one.name: one.format.kind for one in inputs}
        self._pipeline = Pipeline(config.engine, kinds, config.scopes, self._collected, tap, resume)
        self._inputs = {one.name: _opened(one, positions.get(one.name), started_ms) for one in inputs}
        self._checkpoints = int(resume.get(PART, {}).get("checkpoints", 0))

    @property
    def positions(self) -> dict[str, int]:
        """Return how far each input was read."""
        return {name: one.reader.position for name, one in self._inputs.items()}

    @property
    def is_saved(self) -> bool:
        """Return whether the last checkpoint holds everything that was worked off."""
        return not self._dirty

    def watermarks_ms(self) -> dict[str, int]:
        """Return by input the watermark that is out; may be asked from another thread."""
        return {name: window.emitted_ms for name, window in self._pipeline.windows.items()}

    def at_end(self, name: str) -> bool:
        """Return whether everything that an input has was read."""
        return self._inputs[name].reader.at_end

    def received(self) -> Received:
        """Return what came in so far; may be asked from another thread, and is then as of some moment ago."""
        windows = self._pipeline.windows.values()
        return Received(
            accepted=sum(one.counts["accepted"] for one in windows),
            late=sum(one.counts["late"] for one in windows),
            dead_letters=self._pipeline.dead_letters.total(),
            latest_ms=max((one.latest_ms for one in windows), default=-1),
        )

    def sources(self) -> list[Source]:
        """Return where the rows of each input went; may be asked from another thread."""
        letters = dict(self._pipeline.dead_letters)
        return [
            Source(
                name=name,
                kind=self._inputs[name].input.format.kind,
                accepted=window.counts["accepted"],
                late=window.counts["late"],
                duplicate=window.counts["duplicate"],
                dead_lettered=letters.get(name, 0),
                dead_reasons=self._reasons.most_frequent(name),
                dropped=dict(window.dropped),
                crowded=dict(window.crowded),
                latest_ms=window.latest_ms,
            )
            for name, window in self._pipeline.windows.items()
        ]

    def step(self, now_ms: int) -> bool:
        """Work off one batch, if there is any; return whether there was."""
        self._mark_idle(now_ms)
        running = self._furthest_behind()
        if running is not None and (entry := running.reader.read(BATCH_MESSAGES)) is not None:
            self._take(running, entry)
            self._dirty = True
        if self._collected.incidents:
            self._flush(now_ms)
        if self._dirty and self._is_due(now_ms):
            self.checkpoint(now_ms)
        return running is not None

    def drain(self, now_ms: int) -> None:
        """Work off everything that is there."""
        while self.step(now_ms):
            pass

    def checkpoint(self, now_ms: int) -> None:
        """Save everything, in the numbered order; raise SourceError when that fails."""
        positions = self.positions
        self._flush(now_ms)  # 1
        try:
            for name, state in self._pipeline.snapshot().items():  # 2
                self._store.stage(name, state)
            self._store.stage(PART, self._part(positions))
            self._checkpoints += 1
            self._store.commit(f"{self._checkpoints:012d}")  # 3
        except sqlite3.Error as error:
            raise SourceError(f"the checkpoint cannot be written: {error}; free space and start again") from error
        for name, one in self._inputs.items():  # 4
            one.input.journal.drop_before(positions[name])
        self._checkpointed_ms = now_ms
        self._dirty = False

    def close(self) -> None:
        """Close the readers; journals and stores belong to the caller."""
        for one in self._inputs.values():
            one.reader.close()

    def _take(self, running: _Running, entry: Entry) -> None:
        name = running.input.name
        if isinstance(entry, IdleMark):
            self._pipeline.idle(name, entry.time_ms)
            return
        kind = running.input.format.kind
        if isinstance(entry, Damaged):
            reason = f"the journal is damaged: records {entry.offset} to {entry.until - 1} cannot be read"
            letter = DeadLetter(name, entry.offset, reason, "")
            self._reasons.take([letter])
            self._pipeline.feed(Records(kind, empty(kind), name, entry.until), [letter])
            return
        running.heard_ms = max(running.heard_ms, entry.received_ms[-1])
        decoded = running.input.format.decode(entry.bodies, entry.offsets, name, entry.received_ms)
        requests = [request_hash(body) for body in entry.bodies]
        frame = identified_by_request(decoded.batch, entry.offsets, requests)
        ahead_ms = self._config.engine.window.future_ms
        frame, early = not_from_the_future(frame, entry.offsets, entry.received_ms, name, ahead_ms)
        records = Records(kind, frame, name, entry.offsets[-1] + 1)
        letters = [*decoded.letters, *early]
        self._reasons.take(letters)
        self._pipeline.feed(records, letters, decoded.dropped)
        for metric in self._pipeline.windows[name].newly_crowded():
            _log.warning(OVER_THE_LIMIT, name, printable(metric))

    def _furthest_behind(self) -> _Running | None:
        """Return the input to read next: memory is bounded by what the inputs are apart in event time."""
        waiting = [one for one in self._inputs.values() if not one.reader.at_end]
        windows = self._pipeline.windows
        return min(waiting, key=lambda one: (windows[one.input.name].latest_ms, one.input.name), default=None)

    def _mark_idle(self, now_ms: int) -> None:
        for name, one in self._inputs.items():
            silent = one.reader.at_end and now_ms - one.heard_ms >= self._config.idle_after_ms
            if silent and not self._held(name, now_ms):
                time_ms = self._furthest_watermark_ms(besides=name)
                window = self._pipeline.windows[name]
                if time_ms // window.resolution_ms * window.resolution_ms > window.emitted_ms:
                    with suppress(Retryable):  # a disk that fails: windows wait, and the next step tries again
                        one.input.journal.append_idle(time_ms, now_ms, if_next=one.reader.position)

    def _furthest_watermark_ms(self, besides: str) -> int:
        """Return how far the others have come in event time; costs, which are daily, say nothing about it."""
        base = self._config.engine.window
        others = (
            window.latest_ms - base.lateness_ms
            for name, window in self._pipeline.windows.items()
            if name != besides and window.resolution_ms == base.resolution_ms
        )
        return max(others, default=0)

    def _is_due(self, now_ms: int) -> bool:
        filling = any(one.input.journal.is_filling for one in self._inputs.values())
        return filling or now_ms - self._checkpointed_ms >= self._config.checkpoint_ms

    def _flush(self, now_ms: int) -> None:
        self._flush_to(self._collected, now_ms)
        self._collected.late.clear()  # counted by the window steps

    def _part(self, positions: Mapping[str, int]) -> State:
        so_far = {"positions": dict(positions), "checkpoints": self._checkpoints + 1}
        return {"version": 1, "dead_reasons": self._reasons.state()} | so_far | _shape(self._config)

    def _resume(self, inputs: Sequence[Input]) -> dict[str, State]:
        last = self._store.last()
        if last is None:
            return {}
        states = self._store.load(last)
        saved = states.get(PART)
        if saved is None:
            raise StateMismatch("the checkpoint is not one of `opsbrain up`; use another store.folder")
        now = _shape(self._config) | {"inputs": sorted(one.name for one in inputs)}
        then = {name: saved.get(name) for name in now} | {"inputs": sorted(saved["positions"])}
        for name in now:
            if now[name] != then[name]:
                raise StateMismatch(
                    f"the saved state has {name} = {then[name]}, the settings now say {now[name]}; set it back, or "
                    "move the store's folder away to start fresh"
                )
        return states


def _shape(config: LiveConfig) -> State:
    """Return what saved state depends on."""
    window = config.engine.window
    return {
        "shards": window.shards,
        "resolution_ms": window.resolution_ms,
        "lateness_ms": window.lateness_ms,
        "detectors": [one.name for one in config.engine.detect.detectors],
    }


def _opened(one: Input, position: int | None, started_ms: int) -> _Running:
    if position is None:  # no checkpoint yet: everything that is there
        position = one.journal.first_offset
    one.journal.start_at_least(position)
    return _Running(one, JournalReader(one.journal, position), started_ms)
