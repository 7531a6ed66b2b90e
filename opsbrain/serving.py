"""The servers of `opsbrain up` and `opsbrain receive`: HTTP in a thread of its own, OTLP over gRPC beside it."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from engine.errors import SourceError
from opsbrain.otlp_grpc import OtlpServer

CONNECTIONS: Final = 512  # half of the files that a process may usually have open
HEADERS_S: Final = 10.0  # how long the head of a request may take, and what comes after a refusal


class Servers:
    """Listens from the beginning, answers from `start` to `stop`; `address` is the URL of HTTP."""

    def __init__(self, app: ASGIApp, listener: socket.socket, grpc: OtlpServer | None, grace_s: float) -> None:
        """Serve `app` on `listener`; `grace_s` is how long `stop` waits for requests under way."""
        self.address = f"http://{_named(listener)}"
        self._grpc = grpc
        self._grace_s = grace_s
        self._http = uvicorn.Server(
            uvicorn.Config(
                app,
                http=HastyProtocol,
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                limit_concurrency=CONNECTIONS,
                timeout_graceful_shutdown=int(grace_s),
            )
        )
        self._thread = threading.Thread(target=self._http.run, args=([listener],), name="http", daemon=True)

    @property
    def grpc_port(self) -> int:
        """Return the port of gRPC, or 0 when it is off."""
        return self._grpc.port if self._grpc is not None else 0

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        if self._grpc is not None:
            self._grpc.start()

    def check(self) -> None:
        """Raise SourceError when HTTP has stopped by itself."""
        if not self._thread.is_alive():
            raise SourceError("the HTTP server stopped by itself; its log says why")

    def stop(self) -> None:
        """Take nothing new and answer what is under way."""
        self._http.should_exit = True
        if self._grpc is not None:
            self._grpc.stop(self._grace_s)
        if self._thread.ident is not None:
            self._thread.join(self._grace_s + 2)


class HastyProtocol(H11Protocol):
    """HTTP that does not wait forever for the head of a request, nor for the rest of what was refused already."""

    _expiry: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Take bytes; from the first of a request on, its head must be whole in time."""
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        waiting = cycle is None or cycle.response_complete
        if waiting and self._expiry is None:
            self._expiry = self.loop.call_later(HEADERS_S, self.transport.close)
        elif not waiting:
            self._forget()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what belongs to the connection."""
        self._forget()
        super().connection_lost(exc)

    def _forget(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None


def _named(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
