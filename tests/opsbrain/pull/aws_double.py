"""A double of AWS: moto's server in this process, which answers as S3 and Cost Explorer do; and a place to keep."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from engine.errors import Retryable

KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


@contextmanager
def moto() -> Iterator[str]:
    """Run the server and yield its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def client(service: str, address: str) -> Any:
    return boto3.client(service, endpoint_url=address, region_name="us-east-1", **KEYS)


def post(address: str, path: str, body: Any = None) -> None:
    data = json.dumps(body or {}).encode()
    request = urllib.request.Request(address + path, data, {"Content-Type": "application/json"}, method="POST")
    urllib.request.urlopen(request, timeout=10).read()


class Kept:
    """Keeps in memory; `crash_after` so many bodies it dies, `full_after` so many it says that it is full."""

    def __init__(self, crash_after: int = 10**9, full_after: int = 10**9) -> None:
        self.bodies: list[tuple[str, bytes]] = []
        self.crash_after = crash_after
        self.full_after = full_after

    def keep(self, format: str, body: bytes) -> None:
        if len(self.bodies) >= self.crash_after:
            raise SystemExit("crashed")
        if len(self.bodies) >= self.full_after:
            raise Retryable("the journal is full", 5.0)
        self.bodies.append((format, body))

    def of(self, format: str) -> list[bytes]:
        return [body for name, body in self.bodies if name == format]
