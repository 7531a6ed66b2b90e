"""Collects what leaves the engine, by identity: a repeat overwrites, so what is kept is the same however often it came."""

from __future__ import annotations

import polars as pl

from engine.messages import ANOMALIES, HISTORY, LATE, Message
from engine.types import DeadLetter, Fix, Incident


class Collected:
    """Everything a run concluded. Call it with each message that leaves the engine.

    anomalies     frames by message key
    incidents     by (id, revision)
    fixes         by (id, revision)
    dead_letters  by (input, offset)
    late          rows that came after their window was closed
    history       every value with its band, where asked for (for plots)
    """

    def __init__(self) -> None:
        self.anomaly_frames: dict[str, pl.DataFrame] = {}
        self.incidents: dict[tuple[str, int], Incident] = {}
        self.fixes: dict[tuple[str, int], Fix] = {}
        self.dead_letters: dict[tuple[str, int], DeadLetter] = {}
        self.late: dict[str, int] = {}
        self.history: dict[str, pl.DataFrame] = {}

    def __call__(self, message: Message) -> None:
        """Take one message."""
        payload = message.payload
        if isinstance(payload, Incident):
            self.incidents[payload.id, payload.revision] = payload
        elif isinstance(payload, Fix):
            self.fixes[payload.id, payload.revision] = payload
        elif isinstance(payload, DeadLetter):
            self.dead_letters[payload.input, payload.offset] = payload
        elif isinstance(payload, pl.DataFrame):
            self._frame(message, payload)

    def anomalies(self) -> pl.DataFrame | None:
        """Return all anomalies by id, or None if there are none."""
        frames = [frame for _, frame in sorted(self.anomaly_frames.items())]
        return pl.concat(frames).unique("id", keep="last").sort("id") if frames else None

    def newest(self) -> list[Incident]:
        """Return the newest revision of each incident, in the order in which they opened."""
        newest: dict[str, Incident] = {}
        for (name, _), incident in sorted(self.incidents.items()):
            newest[name] = incident
        return sorted(newest.values(), key=lambda one: (one.opened_ms, one.id))

    def _frame(self, message: Message, frame: pl.DataFrame) -> None:
        if message.stream == ANOMALIES:
            self.anomaly_frames[message.key] = frame
        elif message.stream == LATE:
            self.late[message.key] = frame.height
        elif message.stream == HISTORY:
            self.history[message.key] = frame
