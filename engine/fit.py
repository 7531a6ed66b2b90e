"""The fit step: keeps a scope's history and fits models at times of the schedule, off the hot path."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import polars as pl

from engine.errors import DataError
from engine.fit_history import FitHistory
from engine.fit_schedule import FitSchedule
from engine.messages import FITS, Message
from engine.ports import Fitter
from engine.state_codec import encode_state
from engine.types import END_MS, Fit, History, Inputs, Mark, State
from engine.watermark import Completeness


@dataclass(frozen=True, slots=True)
class FitConfig:
    """What is fitted and when.

    fitters             the fitters of the detectors that are on
    history_windows     how many windows of history a fit may look back on
    """

    fitters: tuple[Fitter, ...]
    schedule: FitSchedule
    shards: int = 64
    base_resolution_ms: int = 60_000
    history_windows: int = 10_080
    seed: int = 0


class FitStep:
    """Fits every scope's models in event-time order. State: the history of each scope and resolution."""

    def __init__(self, config: FitConfig, resume: State | None = None) -> None:
        self._config = config
        self._history: dict[tuple[str, int], FitHistory] = {}
        self._complete: dict[int, Completeness] = {}
        self._due: dict[int, list[int]] = {}
        self._done: dict[int, int] = {}
        self._scopes: tuple[str, ...] = ()
        if resume:
            for one in resume["history"]:
                self._history[one["scope"], one["resolution_ms"]] = FitHistory(one["values"])
            self._complete = {int(res): Completeness(one) for res, one in resume["complete"].items()}
            self._due = {int(res): list(due) for res, due in resume["due"].items()}
            self._done = {int(res): done for res, done in resume["done"].items()}
            self._scopes = tuple(resume["scopes"])

    def on_message(self, message: Message) -> list[Message]:
        """Take history, a mark or the declared inputs; return the fits that have become due."""
        payload = message.payload
        if not self._config.fitters and not isinstance(payload, Inputs):
            return []  # history that is kept for plots only must not grow our state
        if isinstance(payload, pl.DataFrame):
            resolution = int(payload["resolution_ms"][0])
            self._history.setdefault((message.scope, resolution), FitHistory()).add(message.key, payload)
            return []
        if isinstance(payload, Inputs):
            self._scopes = tuple(sorted({*self._scopes, *payload.scopes}))
            for resolution in payload.inputs.values():
                producers = [f"detect/{shard}" for shard in range(self._config.shards)]
                self._complete.setdefault(resolution, Completeness()).await_producers(producers)
        elif isinstance(payload, Mark):
            self._take_mark(payload)
        return [message for resolution in sorted(self._complete) for message in self._advance(resolution)]

    def snapshot(self) -> State:
        """Return all state."""
        return {
            "version": 2,
            "history": [
                {"scope": scope, "resolution_ms": resolution, "values": history.snapshot()}
                for (scope, resolution), history in sorted(self._history.items())
            ],
            "complete": {str(res): one.snapshot() for res, one in sorted(self._complete.items())},
            "due": {str(res): due for res, due in sorted(self._due.items())},
            "done": {str(res): done for res, done in sorted(self._done.items())},
            "scopes": list(self._scopes),
        }

    def _take_mark(self, mark: Mark) -> None:
        self._complete.setdefault(mark.resolution_ms, Completeness()).advance(mark.producers, mark.watermark_ms)
        due = self._due.setdefault(mark.resolution_ms, [])
        for start in mark.windows:
            until = self._config.schedule.next_fit(start)
            if until not in due and until > self._done.get(mark.resolution_ms, 0):
                due.append(until)
        due.sort()

    def _advance(self, resolution: int) -> list[Message]:
        complete = self._complete[resolution].complete_up_to()
        due = self._due.get(resolution, [])
        messages: list[Message] = []
        # a fit that no window can use any more (the inputs have ended) is not made
        while due and complete is not None and due[0] <= complete < END_MS:
            until = due.pop(0)
            self._done[resolution] = until
            messages += [
                self._fit(fitter, scope, resolution, until)
                for fitter in self._config.fitters
                if (fitter.resolution == "base") == (resolution == self._config.base_resolution_ms)
                for scope in self._scopes
            ]
        return messages

    def _fit(self, fitter: Fitter, scope: str, resolution: int, until: int) -> Message:
        state: State | None = None
        failure = ""
        try:
            state = fitter.fit(self._history_until(scope, resolution, until), self._config.seed)
        except DataError as error:
            failure = str(error)
        digest = hashlib.sha256(encode_state(state)).hexdigest() if state is not None else ""
        from_ms = self._config.schedule.in_force_from(until)
        fit = Fit(scope, fitter.name, until, from_ms, state, digest, failure)
        return Message(FITS, f"{fitter.name}/{scope}/{until}", fit, scope="")

    def _history_until(self, scope: str, resolution: int, until: int) -> History:
        from_ms = until - self._config.history_windows * resolution
        history = self._history.get((scope, resolution), FitHistory())
        history.forget_before(from_ms)
        history.settle(until)
        return History(scope, resolution, from_ms, until, history.until(until))
