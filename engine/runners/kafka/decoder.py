"""Decodes one input partition: from messages to partials, and what of it a commit must remember.

Pure but for what it returns: the loop beside it (`decode.py`) knows the broker, this knows the rows.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from engine.cardinality import OVER_THE_LIMIT
from engine.errors import SourceError
from engine.measures import Measures
from engine.messages import DEADLETTERS, Message
from engine.repeats import identified_by_request
from engine.runners.kafka.config import Telemetry
from engine.runners.kafka.topics import input_name
from engine.runners.meters import Meters
from engine.schemas import Kind, empty
from engine.skew import not_from_the_future
from engine.told_late import keys_in, text_of
from engine.types import DeadLetter, Records
from engine.window import WindowConfig, WindowStep

log = logging.getLogger(__name__)


class Committed(msgspec.Struct, frozen=True, omit_defaults=True):
    """The metadata of a committed offset."""

    emitted_ms: int
    latest_ms: int
    position: int
    idle_ms: int = 0
    reads_for: dict[str, str] = {}  # which topics and windows were made of what was read (fingerprint.py)
    told_late: str = ""  # keys of events in the oldest open window that are older than it (engine.told_late)


@dataclass(slots=True)
class Input:
    """One input partition that this worker owns."""

    topic: str
    partition: int
    telemetry: Telemetry
    step: WindowStep
    dead_before: int  # dead letters before this offset are out already
    pending_idle_ms: int = 0  # an idle mark that was committed and may not be out
    read_to: int = 0  # of what was read here, also again: the offset behind it
    at_end_since_s: float | None = None
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def has_read_again(self) -> bool:
        """Return whether all that had been read before is here again, as far as it is in open windows."""
        return self.read_to >= self.dead_before

    @property
    def name(self) -> str:
        """Return the input's name."""
        return input_name(self.topic, self.partition)


class Decoder:
    """Decodes one input partition's messages; pure but for what it returns. Used by the loop and by tests."""

    def __init__(self, window: WindowConfig, meters: Meters | None = None) -> None:
        self._window = window
        self._meters = meters or Meters()
        self._measures: dict[str, Measures] = {}  # by topic: the names of series are its format's

    def resolution_ms(self, telemetry: Telemetry) -> int:
        """Return the resolution of a topic's windows."""
        return self._window.resolution_of(telemetry.format.kind)

    def start(self, topic: str, partition: int, telemetry: Telemetry, committed: Committed | None) -> Input:
        """Return the input as it was when `committed` was written, or from the beginning."""
        name, kind = input_name(topic, partition), telemetry.format.kind
        if committed is None:
            step = WindowStep(self._window, name, kind, measures=self._measures_of(topic))
            return Input(topic, partition, telemetry, step, 0)
        step = self._resumed(name, kind, committed, self._measures_of(topic))
        return Input(topic, partition, telemetry, step, committed.position, pending_idle_ms=committed.idle_ms)

    def take(
        self,
        input: Input,
        offsets: Sequence[int],
        bodies: Sequence[bytes],
        ended: bool,
        received_ms: Sequence[int] | None = None,
        requests: Sequence[int] = (),
    ) -> list[Message]:
        """Take messages of one partition in their order; `ended` says that the last one is followed by its end.

        `received_ms` are the messages' own timestamps, where they have one, else 0; `requests` the hashes of those that
        are whole requests, else 0.
        """
        received = received_ms if received_ms is not None else [0] * len(offsets)
        requests = requests or [0] * len(offsets)
        messages: list[Message] = []
        if input.pending_idle_ms:
            known = sum(1 for offset in offsets if offset < input.dead_before)
            if known:
                messages += self._rows(input, offsets[:known], bodies[:known], received[:known], requests[:known])
            offsets, bodies, received = offsets[known:], bodies[known:], received[known:]
            requests = requests[known:]
            # what is read again may come in several batches: all of it was in time for this mark
            if offsets or ended or input.has_read_again:
                messages += input.step.on_idle(input.pending_idle_ms)
                input.pending_idle_ms = 0
        if offsets:
            messages += self._rows(input, offsets, bodies, received, requests)
        if ended:
            messages += input.step.on_end()
        return messages

    def pass_over(self, input: Input, offset: int) -> list[Message]:
        """Take a message that holds no row, so that it is not read again."""
        input.read_to = max(input.read_to, offset + 1)
        kind = input.telemetry.format.kind
        return input.step.on_records(Records(kind, empty(kind), input.name, offset + 1))

    def _rows(
        self,
        input: Input,
        offsets: Sequence[int],
        bodies: Sequence[bytes],
        received_ms: Sequence[int],
        requests: Sequence[int],
    ) -> list[Message]:
        input.read_to = max(input.read_to, offsets[-1] + 1)
        with self._meters.stage("decode"):
            decoded = input.telemetry.format.decode(bodies, offsets, input.name, received_ms)
        frame = identified_by_request(decoded.batch, offsets, requests)
        frame, early = not_from_the_future(frame, offsets, received_ms, input.name, self._window.future_ms)
        letters = [one for one in (*decoded.letters, *early) if one.offset >= input.dead_before]
        input.counts["dead_lettered"] += sum(one.rows for one in letters)
        input.step.dropped.update(decoded.dropped)
        records = Records(input.telemetry.format.kind, frame, input.name, offsets[-1] + 1)
        with self._meters.stage("window"):
            messages = [_dead(one) for one in letters] + input.step.on_records(records)
        for metric in input.step.newly_crowded():
            log.warning(OVER_THE_LIMIT, input.name, metric.encode("ascii", "backslashreplace").decode())
        return messages

    def _measures_of(self, topic: str) -> Measures:
        return self._measures.setdefault(topic, Measures(self._window.shards))

    def _resumed(self, name: str, kind: Kind, committed: Committed, measures: Measures) -> WindowStep:
        return WindowStep.resume_from(
            self._window,
            name,
            kind,
            emitted_ms=committed.emitted_ms,
            latest_ms=committed.latest_ms,
            position=committed.position,
            told_late=keys_in(committed.told_late),
            measures=measures,
        )


def committed_text(input: Input, idle_ms: int = 0, reads_for: Mapping[str, str] | None = None) -> str:
    """Return the metadata that goes with the offset `input.step.safe_offset()`, so that `committed_of` reads it."""
    step = input.step
    told = Committed(
        step.emitted_ms,
        step.latest_ms,
        max(step.position, input.dead_before),
        idle_ms or input.pending_idle_ms,
        dict(reads_for or {}),
        text_of(step.told_late()),
    )
    return msgspec.json.encode(told).decode()


def committed_of(text: str | None) -> Committed:
    """Return what a commit remembered; raise SourceError when it is not ours."""
    try:
        return msgspec.json.decode(text or "", type=Committed)
    except msgspec.DecodeError as error:
        raise SourceError(
            f"kafka: the group's committed offset has foreign metadata ({error}); is kafka.group_prefix used by others?"
        ) from error


def _dead(letter: DeadLetter) -> Message:
    return Message(DEADLETTERS, letter.key, letter)
