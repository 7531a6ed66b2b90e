"""Who may speak to us over HTTP: with a token, whoever bears it; without one, this machine, and no foreign web page.

A browser on this machine can be made to send requests here by any page that it shows. Two checks keep such pages out:
the name under which we are called must be one of ours (or a page could make its own name point here), and what changes
something must not come from another origin.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from opsbrain.access import CONSOLE, GITHUB, HOOKS, INGEST, Access, check_reach, door_of, is_loopback
from opsbrain.settings import Http
from opsbrain.settings import Receivers as ReceiverSettings
from opsbrain.tally import Tally, place_of

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN = frozenset({"/healthz", "/readyz"})  # what orchestrators ask, which bear no token and call by address


class HttpGuard:
    """Wraps an application; refuses with 401 or 403 and a line that says why."""

    def __init__(self, app: ASGIApp, config: Http, access: Access | None = None, tally: Tally | None = None) -> None:
        """Raise ConfigError when we would listen beyond this machine without a token."""
        self._app = app
        self._host = config.host.strip("[]").lower()
        self._access = access or access_of(config, ReceiverSettings())
        self._tally = tally or Tally()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] == "http" and scope["path"] not in _OPEN:
            refusal = self._refusal(Headers(scope=scope), scope["method"], scope["path"])
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, headers: Headers, method: str, path: str) -> PlainTextResponse | None:
        called, door = headers.get("host", ""), door_of(path)
        if not self._opens(headers, door):
            return self._unknown(headers, path)
        if not self._access.needs_token(door) and not self._is_ours(called):
            return PlainTextResponse("not called by a name of this machine; set http.token to allow others\n", 403)
        origin = headers.get("origin")
        if method not in _SAFE and origin is not None and urlsplit(origin).netloc != called:
            return PlainTextResponse("requests from pages of another origin are refused\n", 403)
        return None

    def _unknown(self, headers: Headers, path: str) -> PlainTextResponse:
        what, why = self._access.why_not(door_of(path), headers)
        format, _ = place_of(path)
        self._tally.add(format, "401")
        if format != CONSOLE or what != "no token":  # so every browser begins
            self._tally.stranger(path, what)
        return PlainTextResponse(f"{why}\n", 401, {"www-authenticate": 'Basic realm="opsbrain"'})

    def _opens(self, headers: Headers, door: str) -> bool:
        # whether a signature is right shows when the body is there; who takes the body looks
        return self._access.opens(door, headers) or (door == GITHUB and self._access.may_be_signed(headers))

    def _is_ours(self, called: str) -> bool:
        try:
            name = urlsplit(f"//{called}").hostname or ""
        except ValueError:
            return False
        return name == self._host or is_loopback(name)


def access_of(http: Http, receivers: ReceiverSettings, *, console: bool = True) -> Access:
    """Return who may do what; raise ConfigError when a token is needed and missing.

    Nothing is open beyond this machine: with the console that takes `http.token`, without it a token for shippers.
    """
    access = Access(http, receivers, console=console)
    if console:
        check_reach(http.host, access, (CONSOLE, INGEST, HOOKS), "set http.token")
    else:
        check_reach(http.host, access, (INGEST, HOOKS), "set receivers.ingest_token")
    return access
