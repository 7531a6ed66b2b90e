"""A thread beside the main loop for work that takes long and may be abandoned."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
A = TypeVar("A")


class Aside:
    """One daemon thread: unlike an executor's, it does not keep a process that was asked to stop from ending."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="opsbrain-aside", daemon=True).start()

    async def run(self, work: Callable[[A], T], argument: A) -> T:
        """Return `work(argument)`, done in the thread, one after the other; raise what it raises."""

        async def call() -> T:
            return work(argument)

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(), self._loop))
