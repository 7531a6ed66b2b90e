"""Where each service is reached now: a small file that the cluster replaces and every pod reads."""

import json
import os
from collections.abc import Mapping
from pathlib import Path


class NoEndpointError(OSError):
    """The service has no ready pod."""


class Endpoints:
    """Looks services up, reading the file again whenever it was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int] = (0, 0)
        self._ports: dict[str, int] = {}

    def port(self, service: str) -> int:
        """Return the loopback port of the service's ready pod.

        Raises:
            NoEndpointError: there is none.
        """
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            raise NoEndpointError(f"no endpoints for service {service}") from None
        version = (found.st_ino, found.st_mtime_ns)
        if version != self._version:
            self._ports = json.loads(self._path.read_text(encoding="utf-8"))
            self._version = version
        if service not in self._ports:
            raise NoEndpointError(f"no endpoints for service {service}")
        return self._ports[service]


def publish(path: Path, ports: Mapping[str, int]) -> None:
    """Replace the file whole, so that no reader sees half of it."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(dict(ports)), encoding="utf-8")
    fresh.replace(path)
