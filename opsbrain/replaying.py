"""One replay: a recorded source through the engine, into an export, a report and (if asked) notifications."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from engine.ports import Source
from engine.runners.embedded import Accounts, Progress, replay
from engine.store import SqliteStore
from engine.types import Anomaly, DeadLetter, Fix, Incident
from opsbrain.collect import Collected
from opsbrain.export import newest, write_export
from opsbrain.folder_lock import lock_folder
from opsbrain.settings import Settings
from opsbrain.store import Store
from opsbrain.wiring import engine_config


@dataclass(frozen=True, slots=True)
class Conclusions:
    """Everything a run concluded.

    accounts    where every row went
    history     every value with its band: columns start_ms, end_ms, entity, indicator, value, expected_lo, expected_hi,
                tail_p; None unless asked for
    elapsed_s   how long the run took, and how many rows a second that was (for people, never for the export's bytes)
    """

    anomalies: tuple[Anomaly, ...]
    incidents: tuple[Incident, ...]
    fixes: tuple[Fix, ...]
    dead_letters: tuple[DeadLetter, ...]
    accounts: Accounts
    history: pl.DataFrame | None
    resolution_ms: int
    elapsed_s: float

    @property
    def rows_per_s(self) -> float:
        """Return how many rows a second were taken in."""
        return self.accounts.sent / self.elapsed_s if self.elapsed_s > 0 else 0.0

    def newest_incidents(self) -> list[Incident]:
        """Return the newest revision of each incident, in the order in which they opened."""
        return sorted(newest(self.incidents), key=lambda one: (one.opened_ms, one.id))

    def summary(self) -> dict[str, Any]:
        """Return what the export's summary says beside its own counts."""
        rows = {
            "sent": self.accounts.sent,
            "accepted": self.accounts.accepted,
            "late": self.accounts.late,
            "duplicate": self.accounts.duplicate,
            "dead_lettered": self.accounts.dead_lettered,
            "dropped": dict(sorted(self.accounts.dropped.items())),
        }
        run = {"elapsed_s": round(self.elapsed_s, 3), "rows_per_s": round(self.rows_per_s)}
        return {"rows": rows, "resolution_ms": self.resolution_ms, "run": run}

    def export(self, folder: Path) -> None:
        """Write the canonical export into `folder`."""
        write_export(folder, self.anomalies, self.incidents, self.fixes, self.dead_letters, self.summary())


def run_replay(
    settings: Settings,
    source: Source,
    *,
    state: Path | None = None,
    keep_history: bool = False,
    progress: Progress | None = None,
    stop_after: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Conclusions:
    """Replay `source` to its end and return what was concluded.

    With a `state` folder the run can be cut at any time and started again: it goes on from its last checkpoint. The
    folder is taken for this run; SourceError when another run has it.
    """
    began = clock()
    config = engine_config(settings, resolution_ms=source.resolution_ms, keep_history=keep_history)
    collected = Collected()
    tap = collected if keep_history else None
    resolution_ms = config.window.resolution_ms
    if state is None:
        accounts = replay(config, source, collected, tap=tap, progress=progress, stop_after=stop_after)
        return Conclusions(
            tuple(collected.anomalies()),
            tuple(collected.incidents.values()),
            tuple(collected.fixes.values()),
            tuple(collected.dead_letters.values()),
            accounts,
            _history(collected),
            resolution_ms,
            clock() - began,
        )
    with ExitStack() as opened:
        opened.callback(os.close, lock_folder(state, who="`opsbrain` run", remedy="name another --state"))
        store = opened.enter_context(Store(state))
        checkpoints = SqliteStore(state / "checkpoint.sqlite")
        try:
            accounts = replay(
                config,
                source,
                collected,
                tap=tap,
                store=checkpoints,
                flush=lambda: collected.drain_into(store),
                progress=progress,
                stop_after=stop_after,
            )
        finally:
            checkpoints.close()
        return Conclusions(
            tuple(store.anomalies()),
            tuple(store.incident_revisions()),
            tuple(store.fix_revisions()),
            tuple(store.deadletters()),
            accounts,
            _history(collected),
            resolution_ms,
            clock() - began,
        )


def _history(collected: Collected) -> pl.DataFrame | None:
    frames = [frame for _, frame in sorted(collected.history.items())]
    return pl.concat(frames).sort("entity", "indicator", "start_ms", "window_ms") if frames else None
