"""The embedded runner: every step in one process, messages in a queue, checkpoints in a state store.

Order of a checkpoint:
1. flush sinks
2. stage the state of every step, with the input positions it contains
3. commit the checkpoint (state and positions become visible together)
What was written to sinks after the last checkpoint is written again after a crash, with the same keys and bytes.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from engine.flow import FLOW, INPUTS_GO_TO, OUTPUTS, EngineConfig, Step
from engine.messages import DEADLETTERS, HISTORY, Message
from engine.ports import Reader, Source, StateStore
from engine.runners.shape import check_shape, shape_of
from engine.schemas import Kind
from engine.types import DeadLetter, Inputs, Mark, Records, State
from engine.window import WindowStep

Output = Callable[[Message], None]
Progress = Callable[[str, int, int], None]
_PART: Final = "replay"


@dataclass(slots=True)
class Accounts:
    """Where every row went: sent = accepted + late + dropped(reason) + duplicate + dead-lettered."""

    accepted: int = 0
    late: int = 0
    duplicate: int = 0
    dead_lettered: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def sent(self) -> int:
        """Return the number of rows that came, an undecodable message being one."""
        return self.accepted + self.late + self.duplicate + self.dead_lettered + self.dropped.total()


class Pipeline:
    """The steps of `engine.flow`, wired in one process. Feed it records; what leaves the engine goes to `output`."""

    def __init__(
        self,
        config: EngineConfig,
        inputs: Mapping[str, Kind],
        scopes: Sequence[str],
        output: Output,
        tap: Output | None = None,
        resume: Mapping[str, State] | None = None,
    ) -> None:
        self._config = config
        self._output = output
        self._tap = tap
        shards = range(config.window.shards)
        resume = resume or {}
        self._steps: dict[str, Step] = {w.step: config.build(w.step, shards, resume.get(w.step)) for w in FLOW}
        self._readers_of: dict[str, list[Step]] = {}
        for wire in FLOW:
            for stream in wire.reads:
                self._readers_of.setdefault(stream, []).append(self._steps[wire.step])
        self.windows = {
            name: WindowStep(config.window, name, kind, resume.get(f"window/{name}")) for name, kind in inputs.items()
        }
        self.dead_letters: Counter[str] = Counter(resume.get("dead_letters", {}).get("counts", {}))
        declared = Inputs({name: step.resolution_ms for name, step in self.windows.items()}, tuple(sorted(scopes)))
        self._send([Message(stream, "inputs", declared) for stream in INPUTS_GO_TO])

    def feed(
        self, records: Records | None, dead: Sequence[DeadLetter] = (), dropped: Mapping[str, int] | None = None
    ) -> None:
        """Take one batch and run everything that follows from it; `dropped` are rows of it left out, by reason."""
        for letter in dead:
            self.dead_letters[letter.input] += letter.rows
            self._output(Message(DEADLETTERS, letter.key, letter))
        if records is not None and dropped:
            self.windows[records.input].dropped.update(dropped)
        if records is not None:
            self._send(self.windows[records.input].on_records(records))

    def idle(self, input: str, time_ms: int) -> None:
        """Take an idle mark of an input."""
        self._send(self.windows[input].on_idle(time_ms))

    def end(self, input: str) -> None:
        """Take the end of a recorded input."""
        self._send(self.windows[input].on_end())

    def snapshot(self) -> dict[str, State]:
        """Return the state of every step by name; window steps carry the positions they contain."""
        states: dict[str, State] = {name: step.snapshot() for name, step in self._steps.items()}
        states |= {f"window/{name}": step.snapshot() for name, step in self.windows.items()}
        states["dead_letters"] = {"version": 1, "counts": dict(self.dead_letters)}
        return states

    def _send(self, messages: Sequence[Message]) -> None:
        queue = deque(messages)
        while queue:
            message = queue.popleft()
            if message.stream in OUTPUTS and not isinstance(message.payload, Mark):
                self._output(message)
            if message.stream == HISTORY and self._tap is not None:
                self._tap(message)
            for step in self._readers_of.get(message.stream, ()):
                queue.extend(step.on_message(message))


def replay(
    config: EngineConfig,
    source: Source,
    output: Output,
    *,
    tap: Output | None = None,
    store: StateStore | None = None,
    checkpoint_every: int = 50,
    flush: Callable[[], None] = lambda: None,
    progress: Progress | None = None,
    stop_after: int | None = None,
) -> Accounts:
    """Run a recorded source to its end; return where every row went.

    Batches are taken from the input that is furthest behind in event time, so that memory is bounded by the open
    windows; results do not depend on it. With a `store`, resumes from its last checkpoint and writes one every
    `checkpoint_every` batches; StateMismatch when the checkpoint is of other settings or data. `stop_after` batches the
    run is abandoned (for crash tests).
    """
    kinds = dict(sorted(source.partitions().items()))
    shape = shape_of(config, source) if store is not None else {}
    resume = _resume(store, shape)
    pipeline = Pipeline(config, kinds, source.scopes, output, tap, resume)
    readers: dict[str, Reader] = {name: source.open(name, pipeline.windows[name].position) for name in kinds}
    batches = 0
    try:
        while readers:
            name = min(readers, key=lambda one: (pipeline.windows[one].latest_ms, one))
            batch = readers[name].next_batch()
            if batch is None:
                readers.pop(name).close()
                pipeline.end(name)
            else:
                pipeline.feed(*batch)
            batches += 1
            if progress is not None:
                progress(name, pipeline.windows[name].position, pipeline.windows[name].latest_ms)
            if stop_after is not None and batches >= stop_after:
                return _accounts(pipeline, source)
            if store is not None and batches % checkpoint_every == 0:
                flush()
                _checkpoint(store, pipeline, shape, batches)
    finally:
        for reader in readers.values():
            reader.close()
    flush()
    if store is not None:
        _checkpoint(store, pipeline, shape, batches)
    return _accounts(pipeline, source)


def _checkpoint(store: StateStore, pipeline: Pipeline, shape: State, batches: int) -> None:
    for name, state in pipeline.snapshot().items():
        store.stage(name, state)
    store.stage(_PART, shape)
    store.commit(f"{batches:012d}")


def _resume(store: StateStore | None, shape: State) -> dict[str, State] | None:
    last = store.last() if store is not None else None
    if store is None or last is None:
        return None
    states = store.load(last)
    saved = {name.removeprefix("window/") for name in states if name.startswith("window/")}
    check_shape({"inputs": sorted(saved)} | states.get(_PART, {}), shape)
    return states


def _accounts(pipeline: Pipeline, source: Source) -> Accounts:
    accounts = Accounts(dead_lettered=pipeline.dead_letters.total())
    for step in pipeline.windows.values():
        accounts.accepted += step.counts["accepted"]
        accounts.late += step.counts["late"]
        accounts.duplicate += step.counts["duplicate"]
        accounts.dropped.update(step.dropped)
    for reasons in getattr(source, "dropped", {}).values():
        accounts.dropped.update(reasons)
    return accounts
