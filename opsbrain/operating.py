"""The small HTTP server of a worker: /metrics, /healthz and /readyz, and nothing else."""

from __future__ import annotations

import logging
import socket
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from starlette.applications import Starlette

from engine.errors import ConfigError, SourceError
from engine.runners.meters import Meters
from opsbrain.access import METRICS, Access, check_reach
from opsbrain.console import FAILURES
from opsbrain.health import health_routes, what_is_awaited, what_is_stuck
from opsbrain.http_guard import HttpGuard
from opsbrain.listening import listening
from opsbrain.metrics import Exposition
from opsbrain.serving import Servers
from opsbrain.settings import Receivers, Settings

KEY: Final = "worker.listen"
_GRACE_S: Final = 1.0

_log = logging.getLogger(__name__)


class Operating:
    """Serves as long as it is open. Raises ConfigError when `worker.listen` is no address, or needs a token."""

    def __init__(self, settings: Settings, meters: Meters) -> None:
        host, port, access = place_of(settings)
        routes = [
            Exposition(meters).route(),
            *health_routes(lambda: what_is_stuck(meters), lambda: what_is_awaited(meters)),
        ]
        http = replace(settings.http, host=host, port=port)
        app = HttpGuard(Starlette(routes=routes, exception_handlers=FAILURES), http, access)
        self._listener = _listening(host, port)
        self._servers = Servers(app, self._listener, None, _GRACE_S)

    def __enter__(self) -> Self:
        self._servers.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._servers.stop()
        self._listener.close()

    @property
    def address(self) -> str:
        """Return where it listens, as a URL."""
        return self._servers.address


def place_of(settings: Settings) -> tuple[str, int, Access]:
    """Return host, port and tokens of `worker.listen`; raise ConfigError when it is no address, or needs a token."""
    host, port = address_of(settings.worker.listen)
    access = Access(replace(settings.http, host=host, port=port), Receivers())
    check_reach(host, access, (METRICS,), "set http.metrics_token or http.token", KEY)
    return host, port, access


def address_of(text: str) -> tuple[str, int]:
    """Return host and port of `host:port`; raise ConfigError that says how it is written."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(f'{KEY}: {text!r} is not host:port, as in "127.0.0.1:9108"; empty switches it off')
    return host.strip("[]"), int(port)


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens there, or on a free port when this one is taken: work goes before figures."""
    try:
        return listening(host, port, KEY)
    except SourceError as error:
        listener = listening(host, 0, KEY)
        _log.warning("%s; taking port %d instead", error, listener.getsockname()[1])
        return listener
