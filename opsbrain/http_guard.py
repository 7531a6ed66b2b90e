"""Who may speak to `opsbrain up`: with a token, whoever bears it; without one, this machine, and no foreign web page.

A browser on this machine can be made to send requests here by any page that it shows. Two checks keep such pages out:
the name under which we are called must be one of ours (or a page could make its own name point here), and what changes
something must not come from another origin.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.errors import ConfigError
from opsbrain.settings import Http

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN = frozenset({"/healthz"})  # what orchestrators ask, which bear no token and call by address


class HttpGuard:
    """Wraps an application; refuses with 401 or 403 and a line that says why."""

    def __init__(self, app: ASGIApp, config: Http) -> None:
        """Raise ConfigError when we would listen beyond this machine without a token."""
        self._app = app
        self._host = config.host.strip("[]").lower()
        self._token = token_of(config).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] == "http" and scope["path"] not in _OPEN:
            refusal = self._refusal(Headers(scope=scope), scope["method"])
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, headers: Headers, method: str) -> PlainTextResponse | None:
        called = headers.get("host", "")
        if self._token and not hmac.compare_digest(_borne(headers.get("authorization", "")), self._token):
            ask = {"www-authenticate": 'Basic realm="opsbrain"'}
            return PlainTextResponse("a token is needed: Authorization: Bearer TOKEN\n", 401, ask)
        if not self._token and not self._is_ours(called):
            return PlainTextResponse("not called by a name of this machine; set http.token to allow others\n", 403)
        origin = headers.get("origin")
        if method not in _SAFE and origin is not None and urlsplit(origin).netloc != called:
            return PlainTextResponse("requests from pages of another origin are refused\n", 403)
        return None

    def _is_ours(self, called: str) -> bool:
        try:
            name = urlsplit(f"//{called}").hostname or ""
        except ValueError:
            return False
        return name == self._host or is_loopback(name)


def token_of(config: Http) -> str:
    """Return the token, or "" for none; raise ConfigError when it is needed and missing."""
    token = config.token.reveal("http.token")
    if not token and not is_loopback(config.host.strip("[]").lower()):
        raise ConfigError(f"http.host = {config.host} is beyond loopback: set http.token, or listen on 127.0.0.1")
    return token


def is_loopback(host: str) -> bool:
    """Return whether a host name or address means this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _borne(authorization: str) -> bytes:
    """Return the token of a Bearer header, or the password of a Basic one."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip().encode()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""
