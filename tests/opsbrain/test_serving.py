"""The servers hold out against clients that send slowly, never finish, or come in crowds."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from opsbrain import serving
from opsbrain.listening import listening
from opsbrain.serving import Servers
from tests.opsbrain.doors import Doors

HEADERS_S = 0.1  # of real time, which asyncio's timers go by


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Doors, Servers]]:
    monkeypatch.setattr(serving, "HEADERS_S", HEADERS_S)
    doors = Doors()
    with ExitStack() as stack:
        servers = Servers(doors.app, stack.enter_context(listening("127.0.0.1", 0)), None, 2.0)
        servers.start()
        stack.callback(servers.stop)
        yield doors, servers


def connected(servers: Servers) -> socket.socket:
    host, port = servers.address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def closed_after_s(client: socket.socket) -> float:
    begun = time.monotonic()
    while client.recv(4096):
        pass
    return time.monotonic() - begun


def gave_up(client: socket.socket) -> bool:
    """Send a byte more; return whether the connection is closed, or is before the next is due."""
    try:
        client.sendall(b"x")
        return not client.recv(4096)
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_heads_that_do_not_end_are_given_up(served: tuple[Doors, Servers]) -> None:
    _, servers = served
    with connected(servers) as client:
        client.sendall(b"POST /fluentbit HTTP/1.1\r\nhost: 127.0.0.1\r\nx-more: ")
        assert closed_after_s(client) < 5


def test_a_second_head_on_a_connection_must_end_too(served: tuple[Doors, Servers]) -> None:
    _, servers = served
    whole = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    with connected(servers) as client:
        client.sendall(whole)
        assert client.recv(4096).startswith(b"HTTP/1.1 404")
        client.sendall(whole[:-2])
        assert closed_after_s(client) < 5


def test_requests_that_go_on_longer_than_their_heads_may_are_served(served: tuple[Doors, Servers]) -> None:
    doors, servers = served
    with connected(servers) as client, connected(servers) as later:
        client.sendall(b"POST /fluentbit HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 4\r\n\r\n{")
        later.sendall(b"POST /fluentbit HTTP/1.1\r\n")
        assert closed_after_s(later) < 5, "and so the time of the first is over too"
        client.sendall(b"   ")
        assert client.recv(4096).startswith(b"HTTP/1.1 202")
    assert [body for _, body in doors.kept.bodies] == [b"{   "]


def test_what_follows_a_refusal_is_not_read_forever(served: tuple[Doors, Servers]) -> None:
    doors, servers = served
    with connected(servers) as client:
        client.sendall(b"POST /fluentbit HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 999999999\r\n\r\nx")
        assert client.recv(4096).startswith(b"HTTP/1.1 413")
        client.settimeout(HEADERS_S / 5)  # between two bytes, unless it is closed before
        assert any(gave_up(client) for _ in range(500))
    assert doors.budget.taken_bytes == 0


def test_stop_answers_what_is_under_way(served: tuple[Doors, Servers], monkeypatch: pytest.MonkeyPatch) -> None:
    doors, servers = served
    keeping, go_on = threading.Event(), threading.Event()

    def keep(format: str, body: bytes) -> None:
        keeping.set()
        assert go_on.wait(10)

    monkeypatch.setattr(doors.kept, "keep", keep)
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(httpx.post, f"{servers.address}/fluentbit", content=b"{}", trust_env=False)
        assert keeping.wait(10)
        stopping = pool.submit(servers.stop)
        go_on.set()
        assert answer.result(10).status_code == 202
        stopping.result(10)
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{servers.address}/fluentbit", content=b"{}", trust_env=False)
