"""Can receivers of notifications be reached from here? Connects and says nothing, so nobody is told anything."""

from __future__ import annotations

import socket
import ssl
import urllib.request
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from engine.errors import ConfigError
from opsbrain.finding import Finding
from opsbrain.secrets import Secret
from opsbrain.settings import Notify

_TIMEOUT_S: Final = 3.0
_PORTS: Final = {"http": 80, "https": 443}


def check_receivers(notify: Notify) -> Iterator[Finding]:
    """Yield a finding for each receiver whose address can be had; the others are said by whoever builds them."""
    told = [(f"notify.webhooks.{one.name}", one.url) for one in notify.webhooks]
    told += [("notify.alertmanager", notify.alertmanager.url)]
    for key, url in told:
        try:
            address = url.reveal(f"{key}.url")
        except ConfigError:
            continue
        if url != Secret(""):
            yield _try(key, address)


def _try(key: str, url: str) -> Finding:
    """Return whether a connection comes about; the address may be a secret and is not shown."""
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return Finding(key, "failed", f"cannot be reached: {key}.url is no address of http or https")
    if scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        return Finding(key, "note", "goes through a proxy of the environment; not tried")
    try:
        _connect(scheme, host or "none.invalid", port)
    except ssl.SSLCertVerificationError as error:
        return Finding(key, "failed", f"its certificate is refused: {error.verify_message}; see {key}.url")
    except OSError as error:
        return Finding(
            key, "failed", f"cannot be reached: {error.strerror or 'no answer'}; see {key}.url, and the way there"
        )
    return Finding(key, "ok", "can be reached")


def _connect(scheme: str, host: str, port: int) -> None:
    with socket.create_connection((host, port), timeout=_TIMEOUT_S) as plain:
        if scheme == "https":
            with ssl.create_default_context().wrap_socket(plain, server_hostname=host):
                pass
