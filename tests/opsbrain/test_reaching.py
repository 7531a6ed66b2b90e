"""Whether receivers of notifications can be reached is known without telling them anything."""

from __future__ import annotations

import socket
import threading

import pytest

from opsbrain.reaching import check_receivers
from opsbrain.settings import Notify
from opsbrain.settings_load import load_settings


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def notify(url: str) -> Notify:
    return load_settings(None, {}, (f"notify.webhooks=[{{name='on-call', url='{url}'}}]",)).notify


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def test_nobody_to_tell_is_no_finding() -> None:
    assert list(check_receivers(Notify())) == []


def test_a_receiver_that_listens_hears_nothing() -> None:
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            with server.accept()[0] as one:
                heard.append(one.recv(10))

        thread = threading.Thread(target=take)
        thread.start()
        (found,) = check_receivers(notify(f"http://127.0.0.1:{server.getsockname()[1]}/token-hush"))
        thread.join(5)
    assert (found.name, found.outcome, heard) == ("notify.webhooks.on-call", "ok", [b""])


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:{port}/token-hush", "cannot be reached: "),
        ("https://nowhere.invalid/token-hush", "cannot be reached: "),
        ("http:///token-hush", "cannot be reached: "),
        ("http://127.0.0.1:nonsense/token-hush", "cannot be reached: "),
    ],
)
def test_one_that_cannot_be_reached_is_named_and_its_address_is_not(url: str, says: str) -> None:
    (found,) = check_receivers(notify(url.format(port=free_port())))
    assert found.outcome == "failed" and found.text.startswith(says)
    assert "hush" not in found.text and "notify.webhooks.on-call.url" in found.text


def test_an_address_that_is_not_there_is_said_elsewhere() -> None:
    assert list(check_receivers(notify("env:NOT_THERE_AT_ALL"))) == []


def test_a_proxy_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    (found,) = check_receivers(notify("https://hooks.example.com/token-hush"))
    assert found.outcome == "note" and "hush" not in found.text
