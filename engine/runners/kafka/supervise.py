"""Runs a role again when it could not go on for a reason that passes; nothing of it ends the worker.

A role that begins anew takes its state from the broker, as another worker would. What does not pass (settings that do
not fit the state, rights that are missing, a bug) is raised, and ends the worker with one line.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from engine.errors import Retryable
from engine.runners.kafka.waiting import Interrupted, Stopping

log = logging.getLogger(__name__)

_LONGEST_S: Final = 15.0
_LASTED_S: Final = 60.0  # a role that ran for so long had begun well: the next pause is short again


class Lives:
    """Says each reason once, and how long to pause before the next life."""

    def __init__(self, role: str, seconds: Callable[[], float]) -> None:
        self._role = role
        self._seconds = seconds
        self._said = ""
        self._failed = 0
        self._began_s = seconds()

    def begins(self) -> None:
        """Note that a life begins."""
        self._began_s = self._seconds()

    def failed(self, error: Retryable) -> float:
        """Return how long to pause; say why, unless it was said."""
        if self._seconds() - self._began_s >= _LASTED_S:
            self._failed, self._said = 0, ""
        if str(error) != self._said:
            self._said = str(error)
            log.warning("%s: %s; it begins anew", self._role, error)
        pause_s = min(error.retry_after_s * 2.0**self._failed, _LONGEST_S)
        self._failed = min(self._failed + 1, 8)
        return pause_s


def supervise(role: str, run: Callable[[], None], stopped: Stopping) -> None:
    """Run a role in this thread until stopped."""
    lives = Lives(role, stopped.seconds)
    while not stopped():
        lives.begins()
        try:
            run()
        except Interrupted:
            return
        except Retryable as error:
            stopped.pause(lives.failed(error))


async def supervise_async(role: str, run: Callable[[], Awaitable[None]], stopped: Stopping) -> None:
    """Run a role in this loop until stopped."""
    lives = Lives(role, stopped.seconds)
    while not stopped():
        lives.begins()
        try:
            await run()
        except Interrupted:
            return
        except Retryable as error:
            pause_s = lives.failed(error)
            until_s = stopped.seconds() + pause_s
            while not stopped() and stopped.seconds() < until_s:
                await asyncio.sleep(0.1)
