"""Up to when everybody is done: the completeness that lets a window close."""

from __future__ import annotations

from collections.abc import Iterable

from engine.types import END_MS, State


class Completeness:
    """Tracks, for one resolution, how far each awaited producer has come.

    A producer that was declared and has said nothing holds everything back; marks of producers nobody awaits are kept
    in case they are declared later. Marks may repeat and come again after a restart: a watermark never goes back.
    """

    __slots__ = ("_awaited", "_marks")

    def __init__(self, resume: State | None = None) -> None:
        self._awaited: set[str] = set(resume["awaited"]) if resume else set()
        self._marks: dict[str, int] = dict(resume["marks"]) if resume else {}

    def await_producers(self, producers: Iterable[str]) -> None:
        """Wait for these producers too."""
        self._awaited.update(producers)

    def advance(self, producers: Iterable[str], watermark_ms: int) -> None:
        """Note that `producers` are complete up to `watermark_ms`."""
        for producer in producers:
            self._marks[producer] = max(watermark_ms, self._marks.get(producer, watermark_ms))

    def complete_up_to(self) -> int | None:
        """Return the time up to which every awaited producer is complete, or None while one has said nothing."""
        if not self._awaited or not self._awaited <= self._marks.keys():
            return None
        return min(self._marks[producer] for producer in self._awaited)

    def furthest_ms(self) -> int | None:
        """Return the highest watermark that has not ended, or None."""
        return max((mark for mark in self._marks.values() if mark < END_MS), default=None)

    def snapshot(self) -> State:
        """Return all state."""
        return {"awaited": sorted(self._awaited), "marks": dict(sorted(self._marks.items()))}
