"""Builds the rows of event formats: scrubbed, clipped, with the time and identity that the sender gave them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from engine.ids import identity_of
from engine.ports import Decoded
from engine.schemas import conform
from ingest.refused import Refused
from ingest.scrub import Scrubber
from ingest.times import OUTSIDE, Stamp, sane, stamps_ms

MAX_MESSAGE_BYTES: Final = 4_096
_MAX_UID_CHARS: Final = 256
_MAX_REASON_CHARS: Final = 128


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event as a format read it.

    at        position of its message in the batch
    time      when it happened, as the sender wrote it (RFC 3339 or a number); None: when the message came in
    reason    in the sender's words, CamelCase
    facts     what makes it itself, together with its time; empty: nothing does
    """

    at: int
    time: Stamp
    entity: str
    reason: str
    message: str
    warning: bool = False
    uid: str = ""
    facts: tuple[str, ...] = ()
    count: int = 1


def decoded(
    rows: Sequence[EventRow],
    refused: Refused,
    scrubber: Scrubber,
    received_ms: Sequence[int] = (),
    dropped: Mapping[str, int] | None = None,
) -> Decoded:
    """Return the rows as a frame of kind events; rows without a usable time or reason become dead letters.

    Cost: some microseconds a row. Messages are cut to 4 KiB after scrubbing, so that no half of a secret stays.
    """
    frame = _frame(rows, scrubber, received_ms)
    frame = refused.rows(frame, pl.col("reason") == "", "no reason")
    frame = refused.rows(frame, pl.col("ts_ms").is_null(), OUTSIDE)
    frame = frame.with_columns(refused.offsets_of(frame["at"]))
    return Decoded(conform("events", frame), refused.letters(), Counter(dropped or {}))


def clipped(text: str, most_bytes: int) -> str:
    """Return the beginning of `text`: whole characters in at most `most_bytes` of UTF-8."""
    return text.encode("utf-8", errors="replace")[:most_bytes].decode("utf-8", errors="ignore")


def camel(text: str) -> str:
    """Return words such as `in_progress` as `InProgress`.

    >>> camel("waiting_for_resource")
    'WaitingForResource'
    """
    words = "".join(one if one.isalnum() else " " for one in text).split()
    return "".join(word[:1].upper() + word[1:] for word in words)


def _frame(rows: Sequence[EventRow], scrubber: Scrubber, received_ms: Sequence[int]) -> pl.DataFrame:
    texts = scrubber.series(pl.Series([one.message[: 2 * MAX_MESSAGE_BYTES] for one in rows], dtype=pl.String))
    messages = [clipped(text, MAX_MESSAGE_BYTES) for text in texts]
    uids = pl.Series([one.uid[:_MAX_UID_CHARS] for one in rows], dtype=pl.String)
    reasons = pl.Series([one.reason[:_MAX_REASON_CHARS] for one in rows], dtype=pl.String)
    return pl.DataFrame(
        {
            "at": pl.Series([one.at for one in rows], dtype=pl.Int64),
            "ts_ms": _times(rows, received_ms),
            "entity": pl.Series(_entities(rows, scrubber), dtype=pl.String),
            "reason": scrubber.names(reasons),
            "type": pl.Series(["Warning" if one.warning else "Normal" for one in rows], dtype=pl.String),
            "message": pl.Series(messages, dtype=pl.String),
            "count": pl.Series([one.count for one in rows], dtype=pl.Int64),
            "uid": scrubber.names(uids),
            "identity": pl.Series([_identity(one.facts) for one in rows], dtype=pl.UInt64),
        }
    )


def _times(rows: Sequence[EventRow], received_ms: Sequence[int]) -> pl.Series:
    """Return when each row happened: as it says, or, where it says nothing, when its message came in."""
    stamped = stamps_ms([one.time for one in rows])
    silent = pl.Series([one.time is None for one in rows], dtype=pl.Boolean)
    came = [received_ms[one.at] if received_ms else None for one in rows]
    return sane(pl.Series(came, dtype=pl.Int64)).zip_with(silent, stamped).alias("ts_ms")


def _entities(rows: Sequence[EventRow], scrubber: Scrubber) -> list[str]:
    """Return the entities; each part is scrubbed by itself, so that an id keeps its four parts."""
    named = {one.entity: "/".join(scrubber.text(part) for part in one.entity.split("/")) for one in rows}
    return [named[one.entity] for one in rows]


def _identity(facts: tuple[str, ...]) -> int:
    return identity_of(*facts) if facts else 0
