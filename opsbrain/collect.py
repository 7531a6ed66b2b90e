"""Collects what leaves the engine, by identity: however often a message came, it is kept once."""

from __future__ import annotations

import polars as pl

from engine.anomalies import anomalies_of
from engine.messages import ANOMALIES, HISTORY, LATE, Message
from engine.types import Anomaly, DeadLetter, Fix, Incident
from opsbrain.store import Store


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
        self.dead_letters: dict[str, DeadLetter] = {}
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
            self.dead_letters[payload.key] = payload
        elif isinstance(payload, pl.DataFrame):
            self._frame(message, payload)

    def anomalies(self) -> list[Anomaly]:
        """Return all anomalies, each once."""
        frames = [frame for _, frame in sorted(self.anomaly_frames.items())]
        return [anomaly for frame in frames for anomaly in anomalies_of(frame)]

    def drain_into(self, store: Store) -> None:
        """Move everything collected into `store` (history stays: it is only for plots)."""
        store.put_anomalies(self.anomalies())
        store.put_incidents(list(self.incidents.values()))
        store.put_fixes(list(self.fixes.values()))
        store.put_deadletters(list(self.dead_letters.values()))
        for kept in (self.anomaly_frames, self.incidents, self.fixes, self.dead_letters):
            kept.clear()

    def _frame(self, message: Message, frame: pl.DataFrame) -> None:
        if message.stream == ANOMALIES:
            self.anomaly_frames[message.key] = frame
        elif message.stream == LATE:
            self.late[message.key] = frame.height
        elif message.stream == HISTORY:
            self.history[message.key] = frame
