"""The last windows of history in memory, so that the pages of `opsbrain up` have plots. Never part of any state."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Final

import polars as pl

from engine.messages import Message
from opsbrain.report.history import pick
from opsbrain.report.view import Plotted, SeriesKey

WINDOWS: Final = 180
MAX_ROWS: Final = 500_000  # some 100 MB; with more series than 2,700 the plots reach back less far
_COLUMNS: Final = ("entity", "indicator", "form", "start_ms", "end_ms", "value", "expected_lo", "expected_hi")


class Recent:
    """Takes history as the pipeline's tap and gives out series; any thread may ask.

    Memory: at most WINDOWS windows of each resolution and MAX_ROWS rows together, a row a series and window.
    """

    def __init__(self, windows: int = WINDOWS, max_rows: int = MAX_ROWS) -> None:
        self._windows = windows
        self._max_rows = max_rows
        self._frames: deque[tuple[int, int, pl.DataFrame]] = deque()  # (resolution, start, rows), as they came
        self._rows = 0
        self._lock = threading.Lock()

    def __call__(self, message: Message) -> None:
        """Take one message of the history stream; marks say nothing here."""
        frame = message.payload
        if not isinstance(frame, pl.DataFrame) or frame.is_empty():
            return
        resolution, start = frame.select("resolution_ms", "start_ms").row(0)
        with self._lock:
            self._frames.append((resolution, start, frame.select(_COLUMNS)))
            self._rows += frame.height
            self._forget(resolution, start - self._windows * resolution)

    def series(self, keys: set[SeriesKey]) -> Mapping[SeriesKey, Plotted]:
        """Return those of the wanted series that are in memory."""
        with self._lock:
            frames = [frame for _, _, frame in self._frames]
        return pick(pl.concat(frames), keys) if frames and keys else {}

    def span(self) -> tuple[int, int]:
        """Return the time that is in memory, of the finest resolution, half-open; (0, 0) for none."""
        with self._lock:
            finest = min((resolution for resolution, _, _ in self._frames), default=0)
            starts = [start for resolution, start, _ in self._frames if resolution == finest]
        return (min(starts), max(starts) + finest) if starts else (0, 0)

    def _forget(self, resolution: int, until_ms: int) -> None:
        kept = [one for one in self._frames if one[0] != resolution or one[1] > until_ms]
        self._frames = deque(kept)
        self._rows = sum(frame.height for _, _, frame in kept)
        while self._rows > self._max_rows and len(self._frames) > 1:
            self._rows -= self._frames.popleft()[2].height
