"""`GET /sources`: per input what came and what became of it, and per format how many requests came.

{"sources": [{"name", "kind", "received", "accepted", "late", "dropped": {reason: rows}, "duplicate", "dead_lettered",
              "dead_reasons": {reason: rows, the most frequent three}, "scrubbed": {kind: n}, "crowded": {metric: rows},
              "alarms": [...], "newest_ms"}],
 "requests": {format: {"kept": n, "bytes": n, status: n}}}

Requests of no format are counted under "unknown", those of the console, where they are refused, under "console".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from opsbrain.sources import Source
from opsbrain.tally import Tally

_HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


def sources_routes(sources: Callable[[], Sequence[Source]], tally: Tally) -> list[Route]:
    """Return the route; `sources` is called, on a worker thread, for each request."""

    def answer(request: Request) -> Response:
        told = {"sources": [one.plain() for one in sources()], "requests": tally.counts()}
        return JSONResponse(told, headers=_HEADERS)

    return [Route("/sources", answer)]
