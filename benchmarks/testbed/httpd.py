"""The HTTP front of a pod: one thread a request, a server span and a count for each, probes and scrapes aside."""

import json
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from typing import cast

from benchmarks.testbed import process_stats
from benchmarks.testbed.clock import now_ns
from benchmarks.testbed.exposition import render
from benchmarks.testbed.meters import LockBusyError
from benchmarks.testbed.runtime import App, Body, Handler, Request, Response, Runtime
from benchmarks.testbed.spans import parse_header


class PodServer(ThreadingHTTPServer):
    """Serves one app on a free loopback port."""

    request_queue_size = 256
    daemon_threads = True

    def __init__(self, runtime: Runtime, app: App) -> None:
        super().__init__(("127.0.0.1", 0), _Front)
        self.runtime = runtime
        self.app = app

    @property
    def port(self) -> int:
        """The port that the system chose."""
        return int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what a handler let through in one line; the library would print a stack with this machine's paths."""
        error = sys.exc_info()[1]
        self.runtime.log.fail("http", f"request handler failed: {type(error).__name__}: {error}")


class _Front(BaseHTTPRequestHandler):
    server: PodServer

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._text(200, render(chain(self.server.runtime.meters.samples(), process_stats.samples())))
        elif self.path == "/readyz":
            self._ready()
        else:
            self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def log_message(self, format: str, *args: object) -> None:
        """Keep the library's own access lines out of the service's log."""

    def _ready(self) -> None:
        try:
            self.server.app.ready()
        except LockBusyError as error:
            self._text(503, str(error))
        else:
            self._text(200, "ok")

    def _serve(self, method: str) -> None:
        runtime = self.server.runtime
        route, handler, tail = _match(self.server.app.routes, method, self.path)
        parent = parse_header(self.headers.get("traceparent", "")) or runtime.tracer.new_trace()
        span = runtime.tracer.child(parent)
        body = self._body()
        runtime.meters.begin()
        began_ns, began = now_ns(), time.perf_counter()
        response = Response(500)
        try:
            response = handler(Request(body, span, tail))
        finally:
            runtime.meters.end(route, response.failed)
            runtime.tracer.finish(span, parent, "server", route, began_ns, now_ns(), not response.failed)
        if not self._text(response.status, json.dumps(response.body)):
            took_ms = (time.perf_counter() - began) * 1000
            runtime.log.caution("http", f"client went away before the answer to {route}, took {took_ms:.0f} ms")

    def _body(self) -> Body:
        length = int(self.headers.get("Content-Length") or 0)
        return cast(Body, json.loads(self.rfile.read(length))) if length else {}

    def _text(self, status: int, text: str) -> bool:
        """Send an answer; returns False when the client has gone away."""
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        try:
            self.end_headers()
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True


def _match(routes: Mapping[str, Handler], method: str, path: str) -> tuple[str, Handler, str]:
    """Return the route of a path; a route that ends in `/` takes the rest of the path as its tail."""
    asked = f"{method} {path}"
    if asked in routes:
        return asked, routes[asked], ""
    for route, handler in routes.items():
        if route.endswith("/") and asked.startswith(route):
            return route, handler, asked[len(route) :]
    return "unknown", lambda _: Response(404), ""
