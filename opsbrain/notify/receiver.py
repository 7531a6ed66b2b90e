"""A tiny receiver on loopback that checks signatures: the demo shows one delivered webhook with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from opsbrain.notify.signing import Check, parse_secret, verify


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came, and whether its signature holds."""

    path: str
    headers: dict[str, str]
    body: bytes
    signature: Check


class Receiver:
    """Listens on a free port of 127.0.0.1 while the context is open; `received` holds what came.

    `answers` are (status, headers) for the first requests, in order; every later one gets 204.
    """

    def __init__(
        self,
        secrets: Sequence[str] = (),
        answers: Sequence[tuple[int, dict[str, str]]] = (),
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self.received: list[Received] = []
        self._keys = [parse_secret(one) for one in secrets]
        self._answers = list(answers)
        self._now_s = now_s
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """Return the address to post to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str]]:
        check = verify(self._keys, headers, body, self._now_s())
        self.received.append(Received(path, headers, body, check))
        return self._answers.pop(0) if self._answers else (204, {})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self._take

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, answer = take(self.path, headers, body)
                self.send_response(status)
                for name, value in answer.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Stay silent; the requests are kept."""

        return Handler
