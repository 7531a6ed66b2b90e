"""What `opsbrain up` reports of itself: rows by input as /sources has them, requests, and how far its windows are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from engine.runners.kafka.accounts import (
    DEAD_LETTER,
    DECODE,
    DUPLICATE,
    LABEL_CARDINALITY,
    LATE,
    drop,
    watermark_delays_s,
)
from engine.runners.meters import WATERMARK_DELAY, Component, Meters
from opsbrain.live import Live
from opsbrain.sources import Source
from opsbrain.tally import RECEIVE, Tally

LIVE: Final = "live"
"""The role that works journals off and checkpoints."""

WINDOWS: Final = "windows"


def report(
    meters: Meters, live: Live, sources: Callable[[], Sequence[Source]], tally: Tally, clock: Callable[[], int]
) -> None:
    """Let `meters` report a running pipeline and the receivers before it."""
    meters.checkpointed(LIVE)
    meters.reading(DECODE, lambda: rows_of(sources()))
    meters.reading(RECEIVE, tally.component)
    meters.gauge(WATERMARK_DELAY, ("input",), lambda: watermark_delays_s(live.watermarks_ms(), clock() / 1000))


def rows_of(sources: Iterable[Source]) -> Component:
    """Return where the rows of all inputs went; of those that nothing came from yet, nothing."""
    told = Component(dropped=Counter(dict.fromkeys((LATE, DUPLICATE, DEAD_LETTER, LABEL_CARDINALITY), 0)))
    for one in sources:
        if one.received:
            told.received[one.name] += one.received
            told.sent[WINDOWS] += one.accepted
            by_reason = {LATE: one.late, DUPLICATE: one.duplicate, DEAD_LETTER: one.dead_lettered}
            for reason, rows in (*by_reason.items(), *one.dropped.items()):
                drop(told.dropped, reason, rows)
    return told
