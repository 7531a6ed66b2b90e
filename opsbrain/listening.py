"""A socket that listens, or one line that says which setting stands in the way."""

from __future__ import annotations

import socket

from engine.errors import SourceError


def listening(host: str, port: int, key: str = "http.port") -> socket.socket:
    """Return a socket that listens there; raise SourceError that names the key when it cannot."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
    except OSError as error:
        where = "http.host" if key == "http.port" or key.startswith("receivers.") else key
        raise SourceError(f"{where} = {host}: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise SourceError(f"{host}:{port}: cannot listen: {error.strerror}; set {key}") from error
    return listener
