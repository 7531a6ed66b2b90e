"""What the decode role tells of itself: the accounts of the inputs that it owns and has owned, and where they stand.

The window step of each input counts its rows anyway; here they are read when somebody looks, so that counting costs the
firehose nothing. What an input counted before it went to another worker is kept: a counter never falls.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from engine.runners.kafka.decoder import Input
from engine.runners.meters import WATERMARK_DELAY, Component, Meters
from engine.types import END_MS

DECODE: Final = "decode"
LATE: Final = "late"
DUPLICATE: Final = "duplicate"
DEAD_LETTER: Final = "dead_letter"
LABEL_CARDINALITY: Final = "label_cardinality"
OTHER: Final = "other"

_CROWDED: Final = "label cardinality of "
_MOST_REASONS: Final = 50  # formats have a handful each; more means that one of them makes reasons out of its input


class DecodeAccounts:
    """Follows the inputs that this worker owns. `follow` and `leave` by the decoding thread, the rest by any."""

    def __init__(self, meters: Meters) -> None:
        """Report as component `decode` of `meters`."""
        self._told = meters.component(DECODE, errors=("commit", "broker", "deleted_unread", "undelivered"))
        self._gone = Component()
        self._inputs: dict[tuple[str, int], Input] = {}
        self._lock = threading.Lock()
        meters.reading(DECODE, self.read)
        meters.owned[DECODE] = self.positions
        meters.wait(DECODE, "the group has not given partitions of telemetry topics yet")
        meters.gauge(WATERMARK_DELAY, ("input",), lambda: self.watermark_delays_s(time.time))  # noqa: TID251

    def follow(self, input: Input) -> None:
        """Count what this input counts from now on."""
        with self._lock:
            self._inputs[input.topic, input.partition] = input

    def leave(self, key: tuple[str, int]) -> None:
        """Keep what an input has counted; it is somebody else's now."""
        with self._lock:
            input = self._inputs.pop(key, None)
            if input is not None:
                _add(self._gone, input)

    def sent(self, stream: str) -> None:
        """Count one message of a stream."""
        self._told.sent[stream] += 1

    def error(self, kind: str, count: int = 1) -> None:
        """Count what went wrong."""
        self._told.errors[kind] += count

    def read(self) -> Component:
        """Return the counters: rows received by input, messages sent by stream, rows dropped by reason."""
        told = Component(sent=_copy(self._told.sent), errors=_copy(self._told.errors))
        told.dropped.update(dict.fromkeys((LATE, DUPLICATE, DEAD_LETTER, LABEL_CARDINALITY), 0))
        with self._lock:
            told.received.update(self._gone.received)
            told.dropped.update(self._gone.dropped)
            for input in self._inputs.values():
                _add(told, input)
        return told

    def positions(self) -> dict[tuple[str, int], int]:
        """Return the offset of the next message of each input owned, by topic and partition."""
        with self._lock:
            return {key: max(one.step.position, one.dead_before) for key, one in self._inputs.items()}

    def watermark_delays_s(self, clock_s: Callable[[], float]) -> dict[tuple[str, ...], float]:
        """Return by input how far its watermark is behind the clock; not of those that ended or have none yet."""
        with self._lock:
            known = {one.name: one.step.emitted_ms for one in self._inputs.values()}
        return watermark_delays_s(known, clock_s())


def watermark_delays_s(emitted_ms: Mapping[str, int], now_s: float) -> dict[tuple[str, ...], float]:
    """Return by input how far its watermark is behind `now_s`; not of those that ended or have none yet."""
    return {(name,): now_s - at_ms / 1000 for name, at_ms in emitted_ms.items() if 0 < at_ms < END_MS}


def reason_of(text: str) -> str:
    """Return a reason as a label: what is named after what came in would be without bound."""
    return LABEL_CARDINALITY if text.startswith(_CROWDED) else text.replace(" ", "_")


def drop(into: Counter[str], reason: str, rows: int) -> None:
    """Count rows left out for a reason."""
    named = reason_of(reason)
    into[named if named in into or len(into) < _MOST_REASONS else OTHER] += rows


def _add(told: Component, input: Input) -> None:
    counts, dropped = _copy(input.step.counts), _copy(input.step.dropped)
    dead = input.counts["dead_lettered"]
    known = {LATE: counts["late"], DUPLICATE: counts["duplicate"], DEAD_LETTER: dead}
    for reason, rows in (*known.items(), *dropped.items()):
        drop(told.dropped, reason, rows)
    told.received[input.name] += counts["accepted"] + sum(known.values()) + dropped.total()


def _copy(counter: Counter[str]) -> Counter[str]:
    """Return a copy that another thread may take while keys are added: `dict` copies in one go."""
    return Counter(dict(counter))
