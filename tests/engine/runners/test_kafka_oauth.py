"""Tokens for Faust's driver: who is told the client's secret, and what comes of answers that hold no token."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from engine.runners.kafka.oauth import fetch_token

KEY = "sasl.oauthbearer."


@contextmanager
def endpoint(status: int, body: bytes = b"", **headers: str) -> Iterator[tuple[str, list[str | None]]]:
    """Answer every request alike; give the address, and what was told of who asks."""
    heard: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.headers.get("Authorization"))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *told: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/token", heard
        finally:
            server.shutdown()
            thread.join()


def security(url: str) -> dict[str, str]:
    return {f"{KEY}token.endpoint.url": url, f"{KEY}client.id": "me", f"{KEY}client.secret": "hush"}


def test_a_token_and_how_long_it_holds() -> None:
    with endpoint(200, b'{"access_token": "t", "expires_in": 300}') as (url, heard):
        assert fetch_token(security(url)) == ("t", 300.0)
    assert heard == ["Basic bWU6aHVzaA=="]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_secret_goes_nowhere_else(status: int) -> None:
    with (
        endpoint(200, b'{"access_token": "t"}') as (other, heard_there),
        endpoint(status, Location=other) as (url, _),
        pytest.raises(OSError, match=str(status)),
    ):
        fetch_token(security(url))
    assert heard_there == []


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"no"])
def test_an_answer_without_a_token_is_an_oserror_without_a_secret(body: bytes) -> None:
    with endpoint(200, body) as (url, _), pytest.raises(OSError, match="gives no token") as raised:
        fetch_token(security(url))
    assert "hush" not in str(raised.value)
