"""Holds a client to delivering every message of a partition once and in order, whatever it did meanwhile.

A client that loses its partitions and gets them back, or whose broker dies, may hand out what it had fetched before, or
go on behind it. What was taken already is passed over; before a gap it is asked to read again. A gap that is still
there then is one of the topic (compaction, the markers of transactions, retention).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

_OWN_GAPS: Final = 3  # a topic with so many gaps has them by nature, and is not asked about each of them

Key = tuple[str, int]


class Order:
    """Knows what comes next in each partition. `again` reads one again from an offset."""

    def __init__(self, again: Callable[[Key, int], None]) -> None:
        self._again = again
        self._next: dict[Key, int] = {}
        self._asked: dict[Key, int] = {}
        self._gaps: dict[Key, int] = {}

    def begin(self, key: Key, offset: int | None) -> None:
        """Expect a partition from `offset` on; None is wherever it begins."""
        self.forget(key)
        if offset is not None:
            self._next[key] = offset

    def forget(self, key: Key) -> None:
        """Expect nothing of a partition any more."""
        for one in (self._next, self._asked, self._gaps):
            one.pop(key, None)

    def taken(self, key: Key, messages: Sequence[Any]) -> Sequence[Any]:
        """Return those messages of a partition that come next; errors are no messages, and stay."""
        first, last = messages[0].offset(), messages[-1].offset()
        expected = self._next.get(key, first)
        if first == expected and last - first == len(messages) - 1 and messages[-1].error() is None:
            self._next[key] = last + 1
            return messages
        return self._one_by_one(key, messages)

    def _one_by_one(self, key: Key, messages: Sequence[Any]) -> Sequence[Any]:
        kept = []
        for message in messages:
            offset = message.offset()
            if message.error() is not None or offset is None:
                kept.append(message)
                continue
            expected = self._next.get(key, offset)
            if offset > expected and self._is_news(key, expected):
                self._again(key, expected)
                break
            if offset >= expected:
                kept.append(message)
                self._next[key] = offset + 1
        return kept

    def _is_news(self, key: Key, expected: int) -> bool:
        """Return whether to read again from `expected`; not when that was done already."""
        if self._asked.get(key) == expected:
            self._gaps[key] = self._gaps.get(key, 0) + 1
            return False
        if self._gaps.get(key, 0) >= _OWN_GAPS:
            return False
        self._asked[key] = expected
        return True
