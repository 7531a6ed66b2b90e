"""The front door: takes requests from shoppers, passes them to orders, and tells them when the shop is in trouble."""

import time

from benchmarks.testbed.runtime import App, CallError, Request, Response, Runtime


def build(runtime: Runtime) -> App:
    """Build the gateway."""
    timeout_s = runtime.seconds("ORDERS_TIMEOUT_S")

    def checkout(request: Request) -> Response:
        return forward(request, "POST /checkout", "POST /orders")

    def show(request: Request) -> Response:
        return forward(request, "GET /orders/", "GET /orders/")

    def forward(request: Request, route: str, upstream: str) -> Response:
        began = time.perf_counter()
        response = ask(request, route, upstream)
        took_ms = (time.perf_counter() - began) * 1000
        runtime.log.say("access", f'"{route}" {response.status} {took_ms:.1f}ms trace={request.span.trace_id}')
        return response

    def ask(request: Request, route: str, upstream: str) -> Response:
        try:
            response = runtime.call(request.span, "orders", upstream, request.body, timeout_s, request.tail)
        except CallError as error:
            runtime.log.fail("proxy", f"upstream orders gave no answer to {route}: {error}")
            return Response(504, {"error": "upstream timeout"})
        if response.failed:
            runtime.log.caution("proxy", f"upstream orders answered {response.status} to {route}")
        return response

    return App({"POST /checkout": checkout, "GET /orders/": show})
