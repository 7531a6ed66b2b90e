"""What every service of the shop is given: its log, its meters, its settings, and a traced way to call the others."""

import http.client
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.testbed.clock import now_ns
from benchmarks.testbed.endpoints import Endpoints
from benchmarks.testbed.logs import Log
from benchmarks.testbed.meters import Meters
from benchmarks.testbed.spans import SpanContext, Tracer

Body = dict[str, object]


@dataclass(frozen=True, slots=True)
class Request:
    """One request as a handler sees it; `span` is its server span, `tail` the rest of the path after the route."""

    body: Body
    span: SpanContext
    tail: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """What a handler answers; a status of 500 or more counts as an error."""

    status: int = 200
    body: Body = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Tell whether the server is to blame."""
        return self.status >= 500


Handler = Callable[[Request], Response]


class CallError(Exception):
    """A call to another service brought no answer: it was refused, cut, or timed out."""


@dataclass(frozen=True, slots=True)
class App:
    """A service as it runs: its routes (`"POST /charge"`), and whether it is ready."""

    routes: Mapping[str, Handler]
    ready: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Runtime:
    """The world of one pod."""

    service: str
    version: str
    settings: Mapping[str, str]
    state_dir: str
    log: Log
    meters: Meters
    tracer: Tracer
    endpoints: Endpoints

    def seconds(self, name: str) -> float:
        """Return a setting that is a number of seconds."""
        return float(self.settings[name])

    def call(
        self, caller: SpanContext, service: str, route: str, body: Body, timeout_s: float, tail: str = ""
    ) -> Response:
        """Call another service in a client span below the caller's span; `tail` is appended to the route's path.

        Raises:
            CallError: no answer within `timeout_s`; the message names the cause and the time it took.
        """
        span = self.tracer.child(caller)
        began_ns, began = now_ns(), time.perf_counter()
        ok = False
        try:
            response = self._exchange(service, route + tail, body, timeout_s, span)
            ok = not response.failed
            return response
        except (OSError, http.client.HTTPException) as error:
            took_ms = (time.perf_counter() - began) * 1000
            raise CallError(
                f"{type(error).__name__}: {str(error) or 'connection lost'} after {took_ms:.0f} ms"
            ) from error
        finally:
            self.tracer.finish(span, caller, "client", f"{service} {route}", began_ns, now_ns(), ok)

    def _exchange(self, service: str, route: str, body: Body, timeout_s: float, span: SpanContext) -> Response:
        method, path = route.split(" ", 1)
        connection = http.client.HTTPConnection("127.0.0.1", self.endpoints.port(service), timeout=timeout_s)
        try:
            headers = {"traceparent": span.header(), "Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body), headers)
            answer = connection.getresponse()
            return Response(answer.status, json.loads(answer.read()))
        finally:
            connection.close()
