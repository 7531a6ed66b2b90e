"""One POST, with every way it can fail named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine.errors import ConfigError, Permanent, Retryable
from opsbrain.notify.http_answer import judge

if TYPE_CHECKING:
    import httpx  # at run time inside the functions: it takes a third of a second, which no other command should pay

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Poster:
    """Posts bodies to one address. The address may hold a token, so errors name the receiver, never the address."""

    def __init__(self, url: str, receiver: str, timeout_s: float) -> None:
        import httpx

        self._url = _parse(url, receiver)
        self._receiver = receiver
        # A proxy set for the outside must not catch what goes to this machine.
        self._client = httpx.Client(
            timeout=timeout_s, follow_redirects=False, trust_env=self._url.host not in _LOOPBACK
        )

    def post(self, body: bytes, headers: Mapping[str, str], now_ms: int) -> str:
        """Return what the receiver answered; raise Retryable or Permanent."""
        import httpx

        try:
            response = self._client.post(self._url, content=body, headers={"user-agent": "opsbrain", **headers})
        except httpx.TransportError as error:
            raise Retryable(f"{self._receiver}: {_reason(error)}", 0.0) from error
        except httpx.HTTPError as error:
            raise Permanent(f"{self._receiver}: {_reason(error)}; operator action: check its address") from error
        return judge(response, self._receiver, now_ms)

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()


def _parse(url: str, receiver: str) -> httpx.URL:
    import httpx

    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigError(f"{receiver}: the address is not a URL") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(f"{receiver}: the address must begin with http:// or https:// and name a host")
    return parsed


def _reason(error: httpx.HTTPError) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
