"""Where what comes in is kept until it is worked off: the journal of `opsbrain up`, or Kafka for `opsbrain receive`.

Receivers and those that fetch (object storage, a Kubernetes watch, a backfill) all go through a `Keep`, and answer, or
move their position on, only when it has returned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from engine.errors import ConfigError, DataError, Retryable
from opsbrain.journal import Journal


class Keep(Protocol):
    """Takes whole bodies, one message each."""

    def keep(self, format: str, body: bytes) -> None:
        """Make `body` durable as one message of the input of `format`; it is when this returns. Blocks; thread-safe.

        Raises Retryable, with `retry_after_s`, when it cannot be kept now (the same body may be given again: repeats
        are recognised), NoPlace when bodies of this format have nowhere to go, TooLarge when it never will be taken.
        """


class NoPlace(ConfigError):
    """Nothing is set up that takes bodies of a format; the message says what is missing."""


class TooLarge(DataError):
    """A body is larger than is taken; the sender should send smaller ones."""


class Unavailable(Retryable):
    """What keeps is away, rather than full."""


class JournalKeep:
    """Keeps bodies in one journal a format. `woken` is called when something came."""

    def __init__(
        self,
        journals: Mapping[str, Journal],
        clock: Callable[[], int],
        woken: Callable[[], None] = lambda: None,
    ) -> None:
        self._journals = journals
        self._clock = clock
        self._woken = woken

    def keep(self, format: str, body: bytes) -> None:
        """Append `body` to its journal; it is on disk when this returns."""
        if format not in self._journals:
            raise NoPlace(f"format {format[:40]!r} is not known; one of: {', '.join(self._journals)}")
        self._journals[format].append([body], self._clock())
        self._woken()
