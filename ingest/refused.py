"""Keeps account of the messages of one batch that cannot be used, and makes their dead letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import msgspec
import numpy as np
import polars as pl

from engine.types import DeadLetter
from ingest.scrub import Scrubber

MAX_BODY_BYTES: Final = 2_048
"""How much of a body a dead letter keeps."""

OWN_LETTERS: Final = 100
"""How many refusals of one message have a letter each; the others of one reason share one, which counts them."""

T = TypeVar("T")

# What decoding arbitrary bytes may raise: malformed or mistyped JSON, text that is not UTF-8, nesting without end.
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Refused:
    """Collects refusals by position in the batch: of whole messages, or of rows of messages that hold many."""

    __slots__ = ("_bodies", "_input", "_keep", "_offsets", "_reasons", "_rows", "_scrubber")

    def __init__(
        self,
        bodies: Sequence[bytes],
        offsets: Sequence[int],
        input: str,
        scrubber: Scrubber,
        keep: Callable[[bytes], bytes] = bytes,
    ) -> None:
        """Take account of one batch; `keep` returns what may be kept of a body whose secrets no rule would find."""
        self._keep = keep
        self._bodies = bodies
        self._offsets = offsets
        self._input = input
        self._scrubber = scrubber
        self._reasons: dict[int, str] = {}
        self._rows: dict[tuple[int, str], int] = {}

    def add(self, position: int, reason: str) -> None:
        """Refuse the message at `position` of the batch; the first reason stays."""
        self._reasons.setdefault(position, reason)

    def decoded(
        self, decode: Callable[[bytes], T], start: int = 0, end: int | None = None
    ) -> tuple[list[T], list[int]]:
        """Return what can be decoded of the messages from `start` to `end`, and its positions; refuse the rest."""
        bodies = self._bodies[start:end]
        try:
            return [decode(body) for body in bodies], list(range(start, start + len(bodies)))
        except UNREADABLE:
            return self._one_by_one(decode, start, bodies)

    def where(self, frame: pl.DataFrame, bad: pl.Expr, reason: str) -> pl.DataFrame:
        """Return the rows of `frame` that are not `bad` (null counts as bad); refuse the messages of the others.

        `frame` has a column `at`, the position of each row's message. All rows of a refused message go.
        """
        mask = frame.select(bad.fill_null(True)).to_series()
        if not mask.any():
            return frame
        positions = frame.filter(mask)["at"].unique()
        for position in positions:
            self.add(position, reason)
        return frame.filter(~pl.col("at").is_in(positions.implode()))

    def rows(self, frame: pl.DataFrame, bad: pl.Expr, reason: str) -> pl.DataFrame:
        """Return the rows of `frame` that are not `bad` (null counts as bad); refuse just the others.

        For messages that hold many rows: one letter a message and reason says how many there were.
        """
        mask = frame.select(bad.fill_null(True)).to_series()
        if not mask.any():
            return frame
        for position, count in frame.filter(mask).group_by("at").len().sort("at").iter_rows():
            self.add_rows(position, reason, count)
        return frame.filter(~mask)

    def add_rows(self, position: int, reason: str, count: int = 1) -> None:
        """Refuse `count` rows of the message at `position`."""
        self._rows[position, reason] = self._rows.get((position, reason), 0) + count

    def offsets_of(self, positions: pl.Series) -> pl.Series:
        """Return the offsets of messages by their positions."""
        given = self._offsets
        offsets = np.arange(given.start, given.stop, given.step) if isinstance(given, range) else np.asarray(given)
        return pl.Series("offset", offsets.astype(np.int64, copy=False)[positions.to_numpy()])

    def letters(self) -> list[DeadLetter]:
        """Return the dead letters, in the order of the messages, with scrubbed bodies of at most 2 KiB."""
        found = gathered(
            (int(self._offsets[position]), reason, rows, position) for position, reason, rows in self._found()
        )
        bodies = excerpts([self._keep(self._bodies[one.what]) for one in found], self._scrubber)
        return [
            DeadLetter(self._input, one.offset, one.reason, body, one.part, one.rows)
            for one, body in zip(found, bodies, strict=True)
        ]

    def _found(self) -> list[tuple[int, str, int]]:
        """Return position, reason and rows of all that was refused; of a message refused as a whole no rows beside."""
        whole = [(position, reason, 1) for position, reason in self._reasons.items()]
        parts = [(*key, rows) for key, rows in self._rows.items() if key[0] not in self._reasons]
        return sorted(whole + parts)

    def _one_by_one(
        self, decode: Callable[[bytes], T], start: int, bodies: Sequence[bytes]
    ) -> tuple[list[T], list[int]]:
        values: list[T] = []
        positions: list[int] = []
        for position, body in enumerate(bodies, start):
            try:
                values.append(decode(body))
                positions.append(position)
            except UNREADABLE as error:
                self.add(position, why(body, error))
        return values, positions


@dataclass(slots=True)
class Gathered(Generic[T]):
    """Refusals of one message that become one letter: the first of them is `what` the letter shows."""

    offset: int
    reason: str
    part: int
    rows: int
    what: T


def gathered(refusals: Iterable[tuple[int, str, int, T]]) -> list[Gathered[T]]:
    """Return what becomes letters of refusals: (offset of the message, reason, rows, what was refused), in their order.

    Letters of one message are numbered; beyond `OWN_LETTERS`, there is one for all of one reason.
    """
    given: Counter[int] = Counter()
    kept: dict[tuple[int, int | str], Gathered[T]] = {}
    for offset, reason, rows, what in refusals:
        part = given[offset]
        key = (offset, part if part < OWN_LETTERS else reason)
        if key in kept:
            kept[key].rows += rows
            continue
        kept[key] = Gathered(offset, reason, part, rows, what)
        given[offset] += 1
    return list(kept.values())


def why(body: bytes, error: Exception) -> str:
    """Return the reason for which a body could not be decoded, without any of its content."""
    if not body.strip():
        return "empty message"
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error).partition(" (byte")[0]


def excerpts(bodies: Sequence[bytes], scrubber: Scrubber) -> list[str]:
    """Return the beginnings of refused bodies as dead letters keep them: without secrets, safe to be shown.

    Twice as much as is kept is looked at, so that a secret which the cut goes through is not kept in part.
    """
    if not bodies:
        return []
    texts = scrubber.bodies([body[: 2 * MAX_BODY_BYTES] for body in bodies])
    return [text.encode("utf-8", "replace")[:MAX_BODY_BYTES].decode("utf-8", "ignore") for text in texts]
