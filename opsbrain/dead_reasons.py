"""Why rows of each input became dead letters, by the row, as far as one needs to find out what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from engine.types import DeadLetter

MAX_REASONS: Final = 100
"""How many reasons are told apart of one input; rows of further ones are counted together."""

OTHERS: Final = "other reasons"
SHOWN: Final = 3


class DeadReasons:
    """Counts rows by input and reason."""

    def __init__(self, state: Mapping[str, Mapping[str, int]] | None = None) -> None:
        """Go on from a state, or begin."""
        self._counts = {name: Counter(counts) for name, counts in (state or {}).items()}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def take(self, letters: Iterable[DeadLetter]) -> None:
        """Count the rows that `letters` stand for."""
        for one in letters:
            counts = self._counts.setdefault(one.input, Counter())
            known = one.reason in counts or len(counts) < MAX_REASONS
            counts[one.reason if known else OTHERS] += one.rows

    def rows(self) -> dict[str, int]:
        """Return the rows of each input."""
        return {name: counts.total() for name, counts in sorted(self._counts.items())}

    def most_frequent(self, name: str) -> dict[str, int]:
        """Return the most frequent reasons of one input with their rows, most rows first."""
        counts = dict(self._counts.get(name, {}))  # as it is now: whoever asks may be another thread
        return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:SHOWN])

    def state(self) -> dict[str, Any]:
        """Return the state."""
        return {name: dict(counts) for name, counts in sorted(self._counts.items())}

    def clear(self) -> None:
        """Begin again."""
        self._counts.clear()
