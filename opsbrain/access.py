"""Which token opens which door: the console, the receivers of telemetry, the hooks.

http.token                  everything
receivers.ingest_token      telemetry and hooks
http.metrics_token          /metrics; so does what opens the console
receivers.hook_token        hooks, at /hooks and /receive
receivers.gitlab_token      /hooks/gitlab, as X-Gitlab-Token
receivers.github_secret     /hooks/github, as the key of X-Hub-Signature-256

`/receive/{format}` of what comes by hook is behind the door of that hook. Nothing is signed there: where GitHub must
sign, /receive/github wants a token. A door with no token set for it is open to this machine alone. Tokens are compared
in constant time and never shown.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from typing import Final

from engine.errors import ConfigError
from opsbrain.endpoints import ENDPOINTS, RECEIVE
from opsbrain.endpoints import HOOKS as HOOK_PATHS
from opsbrain.settings import Http, Receivers

CONSOLE: Final = "console"
METRICS: Final = "metrics"
INGEST: Final = "ingest"
HOOKS: Final = "hooks"
GITLAB: Final = "gitlab"
GITHUB: Final = "github"
UNSIGNED: Final = "unsigned"

_INGEST_PATHS: Final = (RECEIVE, "/api/v1/write", "/v1/", "/fluentbit", "/events")
_METRICS_PATH: Final = "/metrics"
_HOOK_FORMATS: Final = frozenset(name for path, name in ENDPOINTS.items() if path.startswith(HOOK_PATHS))
_SIGNATURE: Final = "sha256="


class Access:
    """Knows all tokens, and what each opens."""

    def __init__(self, http: Http, receivers: Receivers, *, console: bool = True) -> None:
        """Raise ConfigError when a token cannot be had; without a console, its door is that of telemetry."""
        everything = http.token.reveal("http.token").encode()
        ingest = receivers.ingest_token.reveal("receivers.ingest_token").encode()
        hook = receivers.hook_token.reveal("receivers.hook_token").encode()
        gitlab = receivers.gitlab_token.reveal("receivers.gitlab_token").encode()
        self._github = receivers.github_secret.reveal("receivers.github_secret").encode()
        metrics = http.metrics_token.reveal("http.metrics_token").encode()
        opens_console = _given(everything) if console else _given(ingest, everything)
        self._tokens = {
            CONSOLE: opens_console,
            METRICS: _given(metrics) + opens_console,
            INGEST: _given(ingest, everything),
            HOOKS: _given(hook, ingest, everything),
        }
        self._tokens |= dict.fromkeys((GITLAB, GITHUB, UNSIGNED), self._tokens[HOOKS])
        self._gitlab = _given(gitlab) or self._tokens[HOOKS]

    def needs_token(self, door: str) -> bool:
        """Return whether something must be borne or signed at that door."""
        own = {GITLAB: bool(self._gitlab), GITHUB: bool(self._github), UNSIGNED: bool(self._github)}
        return bool(self._tokens[door]) or own.get(door, False)

    def opens(self, door: str, headers: Mapping[str, str]) -> bool:
        """Return whether what `headers` (names in lower case) bear opens that door, or it is open."""
        if not self.needs_token(door) or _is_among(_borne(headers), self._tokens[door]):
            return True
        return door == GITLAB and _is_among([headers.get("x-gitlab-token", "").encode()], self._gitlab)

    def why_not(self, door: str, headers: Mapping[str, str]) -> tuple[str, str]:
        """Return what is wrong with what does not open a door, as it is logged and as the stranger is told."""
        if door == GITHUB and "x-hub-signature-256" in headers:
            return "wrong signature", "the signature does not fit: X-Hub-Signature-256"
        if door == GITLAB and "x-gitlab-token" in headers:
            return "wrong token", "X-Gitlab-Token does not fit"
        if any(_borne(headers)):
            return "wrong token", "the token that is borne does not fit here"
        return "no token", "a token is needed: Authorization: Bearer TOKEN"

    def may_be_signed(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request to GitHub's hook bears what may be a signature of its body."""
        signature = headers.get("x-hub-signature-256", "")
        return bool(self._github) and signature.startswith(_SIGNATURE) and len(signature) == len(_SIGNATURE) + 64

    def is_signed(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Return whether GitHub has signed `body` with the secret that we share."""
        wanted = _SIGNATURE + hmac.new(self._github, body, hashlib.sha256).hexdigest()
        return bool(self._github) and _equal(headers.get("x-hub-signature-256", "").encode(), wanted.encode())


def door_of(path: str) -> str:
    """Return the door that a path is behind."""
    if path.startswith(HOOK_PATHS):
        name = path.removeprefix(HOOK_PATHS).strip("/")
        return name if name in (GITLAB, GITHUB) else HOOKS
    name = path.removeprefix(RECEIVE).strip("/") if path.startswith(RECEIVE) else ""
    if name in _HOOK_FORMATS:
        return {GITLAB: GITLAB, GITHUB: UNSIGNED}.get(name, HOOKS)
    if path == _METRICS_PATH:
        return METRICS
    return INGEST if path.startswith(_INGEST_PATHS) else CONSOLE


def check_reach(host: str, access: Access, doors: tuple[str, ...], remedy: str, key: str = "http.host") -> None:
    """Raise ConfigError when one of the doors would stand open beyond this machine."""
    if not is_loopback(host.strip("[]").lower()) and not all(access.needs_token(door) for door in doors):
        raise ConfigError(f"{key} = {host} is beyond loopback: {remedy}, or listen on 127.0.0.1")


def is_loopback(host: str) -> bool:
    """Return whether a host name or address means this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _given(*tokens: bytes) -> tuple[bytes, ...]:
    return tuple(token for token in tokens if token)


def _is_among(borne: list[bytes], tokens: tuple[bytes, ...]) -> bool:
    return any(_equal(one, token) for one in borne for token in tokens)


def _equal(one: bytes, other: bytes) -> bool:
    return hmac.compare_digest(one, other)


def _borne(headers: Mapping[str, str]) -> list[bytes]:
    """Return the tokens that headers bear: of Bearer, the password of Basic, and `X-Api-Key`."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    borne = [headers.get("x-api-key", "").encode()]
    if scheme.lower() == "bearer":
        borne.append(rest.strip().encode())
    if scheme.lower() == "basic":
        with contextlib.suppress(binascii.Error, ValueError):
            borne.append(base64.b64decode(rest, validate=True).partition(b":")[2])
    return borne
