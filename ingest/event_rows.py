"""Builds the rows of event formats: scrubbed, clipped, with the time and identity that the sender gave them.

A format says how its bodies are decoded and what it reads in one; everything else is the same for all of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec
import polars as pl

from engine.ids import identity_of
from engine.ports import Decoded
from engine.schemas import conform
from ingest.refused import UNREADABLE, Refused, why
from ingest.scrub import Scrubber
from ingest.times import OUTSIDE, Stamp, sane, stamps_ms

MAX_MESSAGE_BYTES: Final = 4_096
_MAX_UID_CHARS: Final = 256
_MAX_REASON_CHARS: Final = 128

Body = TypeVar("Body")


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event as a format read it.

    time      when it happened, as the sender wrote it (RFC 3339 or a number); None: when the message came in
    reason    in the sender's words, CamelCase
    facts     what makes it itself, together with its time; empty: nothing does
    """

    time: Stamp
    entity: str
    reason: str
    message: str
    warning: bool = False
    uid: str = ""
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that is left out on purpose, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """A row that cannot be used, and why."""

    reason: str


Found = EventRow | LeftOut | Unusable


def decode_events(
    refused: Refused,
    scrubber: Scrubber,
    received_ms: Sequence[int],
    decode: Callable[[bytes], Body],
    read: Callable[[Body], Iterable[Found]],
) -> Decoded:
    """Return the rows that `read` finds in each body as a frame of kind events; what has no time or reason is refused.

    Cost: some ten microseconds a row. Messages are cut to 4 KiB after scrubbing, so that no half of a secret stays.
    """
    rows: list[EventRow] = []
    at: list[int] = []
    dropped: Counter[str] = Counter()
    for body, position in zip(*refused.decoded(decode), strict=True):
        nothing = True
        for found in read(body):
            nothing = False
            if isinstance(found, LeftOut):
                dropped[found.reason] += 1
            elif isinstance(found, Unusable):
                refused.add_rows(position, found.reason)
            else:
                rows.append(found)
                at.append(position)
        if nothing:
            refused.add(position, "it holds no event")
    came = [received_ms[position] for position in at] if received_ms else [0] * len(at)
    frame = _frame(rows, scrubber, came).with_columns(pl.Series("at", at, dtype=pl.Int64))
    frame = refused.rows(frame, pl.col("reason") == "", "no reason")
    frame = refused.rows(frame, pl.col("ts_ms").is_null(), OUTSIDE)
    frame = frame.with_columns(refused.offsets_of(frame["at"]))
    return Decoded(conform("events", frame), refused.letters(), dropped)


def each(items: Iterable[msgspec.Raw], decode: Callable[[msgspec.Raw], Body]) -> Iterator[Body | Unusable]:
    """Yield each item of a list decoded, so that a bad one does not take the others with it."""
    for item in items:
        try:
            yield decode(item)
        except UNREADABLE as error:
            yield Unusable(why(bytes(item), error))


def camel(text: str) -> str:
    """Return words such as `in_progress` as `InProgress`.

    >>> camel("waiting_for_resource")
    'WaitingForResource'
    """
    words = "".join(one if one.isalnum() else " " for one in text).split()
    return "".join(word[:1].upper() + word[1:] for word in words)


def sentence(*parts: str | None) -> str:
    """Return what is there of `parts` as one text, with spaces between.

    >>> sentence("main", None, "", "by jo")
    'main by jo'
    """
    return " ".join(part for part in parts if part)


def latest(*times: str | None) -> str | None:
    """Return the latest of some ISO times, None where there is none; one that cannot be read decides, to be refused.

    >>> latest("2026-08-01T10:00:00Z", None, "2026-08-01T13:00:00+02:00")
    '2026-08-01T13:00:00+02:00'
    """
    return max((time for time in times if time), key=_seconds, default=None)


def _seconds(time: str) -> float:
    try:
        parsed = datetime.fromisoformat(time)
    except ValueError:
        return math.inf
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def _frame(rows: Sequence[EventRow], scrubber: Scrubber, came: Sequence[int]) -> pl.DataFrame:
    texts = scrubber.series(pl.Series([one.message[: 2 * MAX_MESSAGE_BYTES] for one in rows], dtype=pl.String))
    uids = pl.Series([one.uid[:_MAX_UID_CHARS] for one in rows], dtype=pl.String)
    reasons = pl.Series([one.reason.strip()[:_MAX_REASON_CHARS] for one in rows], dtype=pl.String)
    return pl.DataFrame(
        {
            "ts_ms": _times(rows, came),
            "entity": pl.Series([one.entity for one in rows], dtype=pl.String),
            "reason": scrubber.names(reasons),
            "type": pl.Series(["Warning" if one.warning else "Normal" for one in rows], dtype=pl.String),
            "message": pl.Series([_clipped(text) for text in texts], dtype=pl.String),
            "count": pl.Series([1] * len(rows), dtype=pl.Int64),
            "uid": scrubber.names(uids),
            "identity": pl.Series([identity_of(*one.facts) if one.facts else 0 for one in rows], dtype=pl.UInt64),
        }
    )


def _times(rows: Sequence[EventRow], came: Sequence[int]) -> pl.Series:
    """Return when each row happened: as it says, or, where it says nothing, when its message came in."""
    stamped = stamps_ms([one.time for one in rows])
    silent = pl.Series([one.time is None for one in rows], dtype=pl.Boolean)
    return sane(pl.Series(came, dtype=pl.Int64)).zip_with(silent, stamped)


def _clipped(text: str) -> str:
    return text.encode("utf-8", errors="replace")[:MAX_MESSAGE_BYTES].decode("utf-8", errors="ignore")
