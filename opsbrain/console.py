"""The console of `opsbrain up`: the incident page, and the same as JSON. Read-only; there is no login yet.

/                    what is open and what was, worst first
/incidents           the same
/incidents/{id}      one incident, by id or the beginning of one
/api/incidents       newest revisions, as in `incidents.jsonl`
/api/incidents/{id}  one incident with its fixes
/api/fixes           newest revisions, as in `fixes.jsonl`
/healthz             200 while the process answers; 503 with the reason when what was concluded cannot be read
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from engine.errors import OpsBrainError
from engine.types import Fix, Incident
from engine.values import plain, to_json
from opsbrain.report.page import render_report
from opsbrain.report.view import ReportView

REFRESH_S: Final = 60
_LINK: Final = "/incidents/{id}"

# The page runs nothing and loads nothing; it says so where a browser enforces it.
_HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def console_routes(view: Callable[[], ReportView]) -> list[Route]:
    """Return the routes, to be mounted beside the receivers; `view` is called, on a worker thread, for each request."""
    return [
        Route("/", lambda request: _page(view)),
        Route("/incidents", lambda request: _page(view)),
        Route("/incidents/{id}", lambda request: _one_page(view, request)),
        Route("/api/incidents", lambda request: _json([plain(one) for one in view().incidents])),
        Route("/api/incidents/{id}", lambda request: _one_json(view, request)),
        Route("/api/fixes", lambda request: _fixes(view)),
        Route("/healthz", lambda request: _health(view)),
    ]


def console_app(view: Callable[[], ReportView]) -> Starlette:
    """Return the console as an application of its own."""
    return Starlette(routes=console_routes(view), exception_handlers=FAILURES)


def _page(view: Callable[[], ReportView]) -> Response:
    return _html(replace(view(), link=_LINK, refresh_s=REFRESH_S))


def _one_page(view: Callable[[], ReportView], request: Request) -> Response:
    shown = view()
    incident = _find(shown.incidents, request.path_params["id"])
    if incident is None:
        return _missing(request)
    return _html(replace(shown, incidents=[incident], link=_LINK))


def _fixes(view: Callable[[], ReportView]) -> Response:
    shown = view()
    return _json([_fix(one, shown) for one in shown.fixes])


def _one_json(view: Callable[[], ReportView], request: Request) -> Response:
    shown = view()
    incident = _find(shown.incidents, request.path_params["id"])
    if incident is None:
        raise HTTPException(404, f"no incident {request.path_params['id']!r}")
    fixes = [_fix(one, shown) for one in shown.fixes if one.incident_id == incident.id]
    return _json({"incident": plain(incident), "fixes": fixes})


def _health(view: Callable[[], ReportView]) -> Response:
    try:
        view()
    except OpsBrainError as error:
        return PlainTextResponse(f"{error}\n", 503, headers=dict(_HEADERS))
    return PlainTextResponse("ok\n", headers=dict(_HEADERS))


def _find(incidents: Sequence[Incident], start: str) -> Incident | None:
    found = [one for one in incidents if one.id == start] or [one for one in incidents if one.id.startswith(start)]
    return found[0] if len(found) == 1 else None


def _fix(fix: Fix, view: ReportView) -> dict[str, Any]:
    return {**plain(fix), "outcome": fix.outcome.value, "standing": view.standings.get(fix.id, "proposed")}


def _html(view: ReportView) -> Response:
    return HTMLResponse(render_report(view), headers=dict(_HEADERS))


def _json(value: Any) -> Response:
    return Response(to_json(value), media_type="application/json", headers=dict(_HEADERS))


def _missing(request: Request) -> Response:
    return PlainTextResponse(f"no incident {request.path_params['id']!r}\n", 404, headers=dict(_HEADERS))


def answer_refusal(request: Request, error: Exception) -> Response:
    """Return what a request gets that no route takes, as JSON like the refusals of the receivers."""
    if not isinstance(error, HTTPException):
        raise error
    return Response(
        to_json({"error": error.detail}), error.status_code, {**_HEADERS, **(error.headers or {})}, "application/json"
    )


def answer_failure(request: Request, error: Exception) -> Response:
    """Return what a request gets when what was concluded cannot be read."""
    return PlainTextResponse(f"{error}\n", 503, headers=dict(_HEADERS))


FAILURES: Final[Mapping[Any, Callable[[Request, Exception], Response]]] = {
    OpsBrainError: answer_failure,
    HTTPException: answer_refusal,
}
"""The handlers of an application that mounts these routes."""
