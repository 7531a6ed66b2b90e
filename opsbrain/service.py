"""`opsbrain up` as a whole: the HTTP server in one thread, delivery in another, the live pipeline in the caller's."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Final

import uvicorn
from starlette.applications import Starlette

from engine.errors import ConfigError, SourceError
from engine.store import SqliteStore
from ingest.identity import Identity
from ingest.registry import FORMATS, format_of
from opsbrain.concluding import Conclusions, Deliverer
from opsbrain.console import FAILURES, console_routes
from opsbrain.folder_lock import lock_folder
from opsbrain.http_guard import HttpGuard, token_of
from opsbrain.journal import Journal
from opsbrain.live import CHECKPOINTS, Input, Live, LiveConfig
from opsbrain.live_view import store_view
from opsbrain.notify.outbox import FILE_NAME as OUTBOX
from opsbrain.notify.outbox import Outbox
from opsbrain.notify.registry import build_notifiers
from opsbrain.receivers import Receivers
from opsbrain.recent import Recent
from opsbrain.report.view import ReportView
from opsbrain.settings import Settings
from opsbrain.store import Store
from opsbrain.wiring import engine_config

JOURNAL: Final = "journal"
GRACE_S: Final = 3.0  # for requests and deliveries under way when we are asked to stop
WAIT_S: Final = 0.2  # how soon a stop, or silence, is noticed when nothing comes

Clock = Callable[[], int]


def wall_clock_ms() -> int:
    """Return Unix milliseconds now."""
    return time.time_ns() // 1_000_000


class Service:
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

    def __enter__(self) -> Service:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    @property
    def address(self) -> str:
        """Return where it listens, as a URL."""
        host, port = self._socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def stop(self) -> None:
        """Ask `run` to end. May be called from a signal handler or another thread."""
        self._stopping = True

    def run(self) -> None:
        """Serve and work until `stop`; then answer what is under way, checkpoint and return."""
        server = uvicorn.Server(
            uvicorn.Config(
                self._app,
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=int(GRACE_S),
            )
        )
        serving = threading.Thread(target=server.run, args=([self._socket],), name="http", daemon=True)
        serving.start()
        self._deliverer.start()
        try:
            while not self._stopping:
                self._woken.clear()
                if not self.live.step(self._clock()):
                    self._woken.wait(WAIT_S)
                if not serving.is_alive():
                    raise SourceError("the HTTP server stopped by itself; its log says why")
        finally:
            server.should_exit = True
            serving.join(GRACE_S + 2)
            self._deliverer.stop(GRACE_S)
        self._finish()

    def _view(self) -> ReportView:
        """Return what the console shows: the store, the plots in memory, and how far we have come."""
        from_ms, until_ms = self._recent.span()
        received = replace(self.live.received(), from_ms=from_ms, until_ms=until_ms)
        return store_view(self._folder, series=self._recent.series, received=received)

    def _finish(self) -> None:
        """Work off what came last, as far as that takes moments; the rest waits in the journal for the next start."""
        deadline_s = time.monotonic() + GRACE_S
        while time.monotonic() < deadline_s and self.live.step(self._clock()):
            pass
        self.live.checkpoint(self._clock())

    def _build(self, settings: Settings, opened: ExitStack) -> None:
        """Build everything, what is cheap to refuse first; what is opened is closed by `opened`."""
        token_of(settings.http)
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
        receivers = Receivers(journals, settings.http.max_body_mb << 20, self._clock, self._woken.set)
        self._app = HttpGuard(application(settings, receivers, self._view), settings.http)
        self._socket = opened.enter_context(listening(settings.http.host, settings.http.port))
        give_up_after_ms = settings.notify.give_up_after_s * 1000
        self._deliverer = Deliverer(folder, notifiers, give_up_after_ms, self._clock)
        store = opened.enter_context(Store(folder))
        outbox = Outbox(folder / OUTBOX, give_up_after_ms)
        opened.callback(outbox.close)
        checkpoints = SqliteStore(folder / CHECKPOINTS)
        opened.callback(checkpoints.close)
        flush = Conclusions(store, outbox, notifiers, self._deliverer.wake)
        inputs = [Input(name, format_of(name, identity), journal) for name, journal in journals.items()]
        self.live = Live(config, inputs, checkpoints, flush, self._clock(), self._recent)
        opened.callback(self.live.close)


def application(settings: Settings, receivers: Receivers, view: Callable[[], ReportView] | None = None) -> Starlette:
    """Return the web application: receivers and console; without a `view` the console shows the store alone."""
    console = console_routes(view or (lambda: store_view(settings.store.folder)))
    return Starlette(routes=[*receivers.routes(), *console], exception_handlers=FAILURES)


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


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; raise SourceError that names the key when it cannot."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
    except OSError as error:
        raise SourceError(f"http.host = {host}: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise SourceError(f"{host}:{port}: cannot listen: {error.strerror}; set http.port") from error
    return listener
