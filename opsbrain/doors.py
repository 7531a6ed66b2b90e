"""Builds the ways in of `opsbrain up` and `opsbrain receive`: one application over whatever keeps what comes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from engine.errors import ConfigError
from opsbrain.access import Access
from opsbrain.console import FAILURES
from opsbrain.http_guard import HttpGuard
from opsbrain.keep import Keep
from opsbrain.listening import listening
from opsbrain.otlp_grpc import OtlpServer
from opsbrain.receive_body import BodyLimits, Budget
from opsbrain.receivers import Receivers, Rules
from opsbrain.serving import Servers
from opsbrain.settings import Http, Settings
from opsbrain.tally import Tally

GRACE_S: Final = 3.0  # for requests under way when we are asked to stop


def rules_of(http: Http, access: Access) -> Rules:
    """Return what receivers hold requests to; raise ConfigError when memory is too small for the largest bodies."""
    if http.in_flight_mb < 4 * http.max_body_mb:
        raise ConfigError("http.in_flight_mb must be at least four times http.max_body_mb, or large bodies never fit")
    return Rules(access, BodyLimits(http.max_body_mb << 20, http.body_timeout_s), Budget(http.in_flight_mb << 20))


class Served:
    """What a process serves as long as it is open: a context manager, of which a subclass sets both attributes."""

    _open: ExitStack
    _servers: Servers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    @property
    def address(self) -> str:
        """Return where it listens, as a URL."""
        return self._servers.address

    @property
    def grpc_port(self) -> int:
        """Return the port of OTLP over gRPC, or 0 when it is off."""
        return self._servers.grpc_port


def build_doors(
    settings: Settings,
    access: Access,
    keep: Keep,
    formats: Sequence[str],
    others: Sequence[BaseRoute],
    tally: Tally,
    opened: ExitStack,
    grace_s: float = GRACE_S,
) -> tuple[Servers, HttpGuard]:
    """Return the servers, which listen but do not answer yet, and their application.

    `others` are routes beside the receivers. Raises ConfigError or SourceError when they cannot be had.
    """
    http, rules = settings.http, rules_of(settings.http, access)
    receivers = Receivers(keep, formats, rules, tally)
    app = HttpGuard(Starlette(routes=[*receivers.routes(), *others], exception_handlers=FAILURES), http, access, tally)
    listener = opened.enter_context(listening(http.host, http.port))
    grpc = _grpc(settings, keep, formats, rules, tally, opened)
    return Servers(app, listener, grpc, grace_s), app


def _grpc(
    settings: Settings, keep: Keep, formats: Sequence[str], rules: Rules, tally: Tally, opened: ExitStack
) -> OtlpServer | None:
    port = settings.receivers.grpc_port
    if not port:
        return None
    wanted = port if settings.http.port else 0  # who takes any port for HTTP takes any for gRPC
    server = OtlpServer(settings.http.host, wanted, keep, tuple(formats), rules, tally)
    opened.callback(server.stop, 0)
    return server
