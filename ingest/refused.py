"""Keeps account of the messages of one batch that cannot be used, and makes their dead letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec
import numpy as np
import polars as pl

from engine.types import DeadLetter
from ingest.scrub import Scrubber

MAX_BODY_BYTES: Final = 2_048
"""How much of a body a dead letter keeps."""

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
        whole = [(position, reason, 0, 1) for position, reason in self._reasons.items()]
        found = sorted(whole + self._parts())
        bodies = excerpts([self._keep(self._bodies[position]) for position, *_ in found], self._scrubber)
        return [
            DeadLetter(self._input, int(self._offsets[position]), reason, body, part, rows)
            for (position, reason, part, rows), body in zip(found, bodies, strict=True)
        ]

    def _parts(self) -> list[tuple[int, str, int, int]]:
        """Return position, reason, part and rows of what was refused in part, numbered within each message."""
        parts: list[tuple[int, str, int, int]] = []
        numbered: Counter[int] = Counter()
        for (position, reason), rows in sorted(self._rows.items()):
            if position not in self._reasons:
                parts.append((position, reason, numbered[position], rows))
                numbered[position] += 1
        return parts

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
