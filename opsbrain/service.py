"""`opsbrain up` as a whole: the HTTP server in one thread, delivery in another, the live pipeline in the caller's."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from engine.errors import ConfigError, OpsBrainError
from engine.runners.meters import Meters
from engine.store import SqliteStore
from ingest.identity import Identity
from ingest.registry import FORMATS, format_of
from opsbrain.concluding import Conclusions
from opsbrain.console import console_routes
from opsbrain.doors import GRACE_S, Served, build_doors
from opsbrain.folder_lock import lock_folder
from opsbrain.health import health_routes, what_is_stuck
from opsbrain.http_guard import access_of
from opsbrain.journal import Journal
from opsbrain.keep import JournalKeep
from opsbrain.live import CHECKPOINTS, Held, Input, Live, LiveConfig
from opsbrain.live_meters import LIVE, report
from opsbrain.live_view import store_view
from opsbrain.metrics import Exposition
from opsbrain.notify.deliverer import Deliverer
from opsbrain.notify.meters import NotifyMeters
from opsbrain.notify.outbox import FILE_NAME as OUTBOX
from opsbrain.notify.outbox import Outbox
from opsbrain.notify.registry import build_notifiers
from opsbrain.pull import backfill_of, pullers_of
from opsbrain.pull.base import PullThread
from opsbrain.pull.prometheus_backfill import FORMAT as HISTORY
from opsbrain.pull.prometheus_backfill import PrometheusBackfill
from opsbrain.recent import Recent
from opsbrain.report.view import ReportView
from opsbrain.settings import Settings
from opsbrain.sources import Source
from opsbrain.sources_api import sources_routes
from opsbrain.store import Store
from opsbrain.tally import Tally
from opsbrain.wiring import engine_config, scrubber_of

JOURNAL: Final = "journal"
TOLD_MS: Final = 30 * 86_400_000  # how long what has been told is shown in the console and recognised
WAIT_S: Final = 0.2  # how soon a stop, or silence, is noticed when nothing comes

Clock = Callable[[], int]


def wall_clock_ms() -> int:
    """Return Unix milliseconds now."""
    return time.time_ns() // 1_000_000


class Service(Served):
    """Everything of one `opsbrain up`. Use as a context manager, from one thread; nothing listens before `run`.

    Raises ConfigError or SourceError, one line each, when it cannot start: a setting is wrong, the folder cannot be
    written or is in use, the port is taken, saved state does not fit.
    """

    def __init__(self, settings: Settings, clock: Clock = wall_clock_ms) -> None:
        self._clock = clock
        self._woken = threading.Event()
        self._stopping = False
        self._open = ExitStack()
        self._recent = Recent()
        self._folder = settings.store.folder
        with ExitStack() as opened:
            self._build(settings, opened)
            self._open = opened.pop_all()

    def stop(self) -> None:
        """Ask `run` to end. May be called from a signal handler or another thread."""
        self._stopping = True

    def run(self) -> None:
        """Serve and work until `stop`; then answer what is under way, checkpoint and return."""
        self._deliverer.start()
        self._servers.start()
        for one in self._pulls:
            one.start()
        try:
            while not self._stopping:
                self._woken.clear()
                self._meters.beat(LIVE)
                if not self.live.step(self._clock()):
                    self._woken.wait(WAIT_S)
                if self.live.is_saved:
                    self._meters.checkpointed(LIVE)
                self._servers.check()
                self._tally.say()
                for one in self._pulls:
                    one.check()
        finally:
            for one in self._pulls:
                one.stop()
            self._servers.stop()
            self._deliverer.stop(GRACE_S)
        self._finish()

    def _view(self) -> ReportView:
        """Return what the console shows: the store, the plots in memory, and how far we have come."""
        from_ms, until_ms = self._recent.span()
        received = replace(self.live.received(), from_ms=from_ms, until_ms=until_ms)
        return store_view(self._folder, series=self._recent.series, received=received, sources=self.sources())

    def sources(self) -> list[Source]:
        """Return where the rows of each input went; may be asked from another thread."""
        scrubbed = {name: dict(one.counts) for name, one in self._scrubbers.items()}
        return [replace(one, scrubbed=scrubbed[one.name]) for one in self.live.sources()]

    def _what_is_wrong(self) -> list[str]:
        try:
            self._view()
        except OpsBrainError as error:
            return [str(error)]
        if not self._deliverer.alive:
            return ["nobody delivers notifications any more; the log says why"]
        return what_is_stuck(self._meters)

    def _finish(self) -> None:
        """Work off what came last, as far as that takes moments; the rest waits in the journal for the next start."""
        deadline_s = time.monotonic() + GRACE_S
        while time.monotonic() < deadline_s and self.live.step(self._clock()):
            pass
        self.live.checkpoint(self._clock())

    def _past(self, now_ms: int) -> bool:
        """Return whether hours before the start are still being fetched or worked off."""
        return self._held(HISTORY, now_ms) or not self.live.at_end(HISTORY)

    def _build(self, settings: Settings, opened: ExitStack) -> None:
        """Build everything, what is cheap to refuse first; what is opened is closed by `opened`."""
        access = access_of(settings.http, settings.receivers)
        notifiers = build_notifiers(settings.notify)
        config = LiveConfig(
            engine_config(settings, keep_history=True),
            scopes_of(settings),
            settings.pipeline.idle_after_s * 1000,
            settings.store.checkpoint_s * 1000,
        )
        identity = identity_of(settings)
        folder = settings.store.folder
        opened.callback(os.close, lock_folder(folder, who="`opsbrain up`", remedy="set store.folder"))
        journals = _journals(settings, opened)
        keep, tally = JournalKeep(journals, self._clock, self._woken.set), Tally()
        self._tally = tally
        self._meters = meters = Meters()
        console = [
            *health_routes(self._what_is_wrong, self._what_is_wrong),
            Exposition(meters).route(),
            *console_routes(self._view),
            *sources_routes(self.sources, tally),
        ]
        self._servers, self._app = build_doors(settings, access, keep, list(FORMATS), console, tally, opened)
        give_up_after_ms = settings.notify.give_up_after_s * 1000
        store = opened.enter_context(Store(folder))
        outbox = Outbox(folder / OUTBOX, give_up_after_ms)
        opened.callback(outbox.close)
        told = NotifyMeters(meters, [one.name for one in notifiers])
        told.begin(outbox)
        self._deliverer = Deliverer(
            outbox,
            notifiers,
            self._clock,
            settings.notify.stale_after_s * 1000,
            told,
            TOLD_MS,
            after_round=lambda: told.round(outbox),
        )
        checkpoints = SqliteStore(folder / CHECKPOINTS)
        opened.callback(checkpoints.close)
        self._pulls = pullers_of(settings, keep, folder, self._clock)
        backfill = backfill_of(settings, keep, folder, self._clock())
        if backfill is not None:
            self._pulls.append(PullThread(backfill, self._clock))
        past = self._past if backfill else None
        flush = Conclusions(store, outbox, notifiers, self._deliverer.wake, past, told.received)
        self._held = held_by(backfill)
        self._scrubbers = {name: scrubber_of(settings) for name in journals}
        inputs = [Input(name, format_of(name, identity, self._scrubbers[name]), one) for name, one in journals.items()]
        self.live = Live(config, inputs, checkpoints, flush, self._clock(), self._recent, self._held)
        opened.callback(self.live.close)
        report(meters, self.live, self.sources, tally, self._clock)


def held_by(backfill: PrometheusBackfill | None) -> Held:
    """Return which inputs windows wait for: the one of the backfill, as long as it fetches."""
    return lambda name, now_ms: backfill is not None and name == HISTORY and backfill.busy(now_ms)


def identity_of(settings: Settings) -> Identity:
    """Return the rules that name entities, as the settings have them."""
    one = settings.identity
    return Identity(one.scope, one.default_namespace, one.overrides)


def scopes_of(settings: Settings) -> tuple[str, ...]:
    """Return the scopes that settings can give rise to."""
    named = {entity.partition("/")[0] for entity in settings.identity.overrides.values()}
    return tuple(sorted({settings.identity.scope, *named}))


def check_journal_room(settings: Settings) -> None:
    """Raise ConfigError when the journal cannot hold the largest bodies."""
    if settings.http.max_body_mb * 4 > settings.store.journal_mb:
        raise ConfigError("store.journal_mb must be at least four times http.max_body_mb, or large bodies never fit")


def _journals(settings: Settings, opened: ExitStack) -> Mapping[str, Journal]:
    """Open one journal a format; each format is one input partition, named like it."""
    check_journal_room(settings)
    folder = settings.store.folder / JOURNAL
    folder.mkdir(mode=0o700, exist_ok=True)
    journals: dict[str, Journal] = {}
    for name in FORMATS:
        journals[name] = Journal(folder / name, settings.store.journal_mb << 20)
        opened.callback(journals[name].close)
    return journals
