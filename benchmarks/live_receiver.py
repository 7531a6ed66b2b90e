"""A real HTTP receiver of webhooks on loopback, which notes when each came."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class Heard:
    """A webhook: when it came (monotonic clock), its CloudEvent's id and type, and its event time."""

    at_s: float
    id: str
    type: str
    time_ms: int


@dataclass(slots=True)
class Receiver:
    """The address to send to, and what came, in its order; repeats too."""

    url: str = ""
    heard: list[Heard] = field(default_factory=list)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Yield a receiver that answers 204 to every POST, on a free port."""
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            at_s = time.monotonic()
            self.send_response(204)
            self.send_header("Content-Length", "0")
            self.end_headers()
            kept.heard.append(_heard(at_s, body))

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: a line a webhook helps nobody."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _heard(at_s: float, body: bytes) -> Heard:
    event = json.loads(body)
    time_ms = round(datetime.fromisoformat(event["time"]).timestamp() * 1_000)
    return Heard(at_s, event["id"], event["type"].rpartition(".")[2], time_ms)
