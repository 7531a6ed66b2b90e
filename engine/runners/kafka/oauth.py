"""Tokens for OAUTHBEARER in Faust's driver, fetched as librdkafka fetches them (`sasl.oauthbearer.method=oidc`).

A grant of `client_credentials` (RFC 6749, section 4.4): the client's id and secret by HTTP Basic, the answer as JSON. A
token serves every connection until a fifth of its life is left.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

_KEY: Final = "sasl.oauthbearer."
_TIMEOUT_S: Final = 10.0
_SHARE: Final = 0.8
_SHORT_S: Final = 60.0  # for an answer that does not say how long it holds


def token_provider(security: Mapping[str, str]) -> Any:
    """Return what Faust's driver asks for a token at each new connection."""
    from aiokafka.abc import AbstractTokenProvider

    class Provider(AbstractTokenProvider):
        def __init__(self) -> None:
            self._token = ""
            self._until_s = 0.0

        async def token(self) -> str:
            if time.monotonic() >= self._until_s:
                self._token, lasts_s = await asyncio.to_thread(fetch_token, security)
                self._until_s = time.monotonic() + lasts_s * _SHARE
            return self._token

        def extensions(self) -> dict[str, str]:
            pairs = security.get(f"{_KEY}extensions", "").split(",")
            return {name: value for name, _, value in (one.strip().partition("=") for one in pairs) if name}

    return Provider()


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows nobody: the client's secret is for the address in the settings alone."""

    def redirect_request(self, *told: Any) -> None:
        return None


def fetch_token(security: Mapping[str, str]) -> tuple[str, float]:
    """Return a fresh token and how many seconds it holds; raise OSError when none is given."""
    try:
        with urllib.request.build_opener(_Stay).open(_request(security), timeout=_TIMEOUT_S) as answer:
            told = json.loads(answer.read())
        return str(told["access_token"]), float(told.get("expires_in", _SHORT_S))
    except (ValueError, KeyError, TypeError, http.client.HTTPException) as error:
        raise OSError(f"{_KEY}token.endpoint.url gives no token") from error


def _request(security: Mapping[str, str]) -> urllib.request.Request:
    form = {"grant_type": "client_credentials"}
    if scope := security.get(f"{_KEY}scope"):
        form["scope"] = scope
    who = f"{security[f'{_KEY}client.id']}:{security[f'{_KEY}client.secret']}"
    return urllib.request.Request(
        security[f"{_KEY}token.endpoint.url"],
        data=urllib.parse.urlencode(form).encode(),
        headers={"Authorization": f"Basic {base64.b64encode(who.encode()).decode()}", "Accept": "application/json"},
    )
