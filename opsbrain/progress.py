"""Progress of a replay: a bar on a terminal, nothing in a pipe; and the pace, where one is asked for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from engine.ports import Source
from engine.runners.embedded import Progress


@contextmanager
def progress_bar(source: Source, factor: float | None) -> Iterator[Progress | None]:
    """Give a callback that shows how far each input is and, with a `factor`, slows the replay down to that pace."""
    pace = Pace(factor) if factor is not None else None
    if not sys.stderr.isatty():
        yield pace.wait if pace is not None else None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.fields[at]}"), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks = {name: bar.add_task(name, at="") for name in sorted(source.partitions())}

        def show(input: str, position: int, latest_ms: int) -> None:
            at = datetime.fromtimestamp(max(latest_ms, 0) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
            bar.update(tasks[input], at=f"{position:>10,}  {at}")
            if pace is not None:
                pace.wait(input, position, latest_ms)

        yield show


class Pace:
    """Holds a replay to `factor` times the speed at which things happened."""

    def __init__(
        self,
        factor: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._factor = factor
        self._clock = clock
        self._sleep = sleep
        self._began: tuple[float, int] | None = None

    def wait(self, input: str, position: int, latest_ms: int) -> None:
        """Sleep until `latest_ms` is due."""
        if latest_ms < 0:
            return
        if self._began is None:
            self._began = (self._clock(), latest_ms)
        wall, event_ms = self._began
        ahead_s = (latest_ms - event_ms) / 1000 / self._factor - (self._clock() - wall)
        if ahead_s > 0:
            self._sleep(ahead_s)
