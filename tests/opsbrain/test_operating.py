"""A worker's own HTTP: who may read what, and what /healthz and /readyz say when."""

from __future__ import annotations

import socket
from dataclasses import replace

import httpx
import pytest

from engine.errors import ConfigError
from engine.runners.meters import Meters
from opsbrain.health import STUCK_S, what_is_awaited, what_is_stuck
from opsbrain.operating import Operating, address_of
from opsbrain.secrets import Secret
from opsbrain.settings import Http, Settings, Worker
from tests.opsbrain.scrapes import Scrape


def settings(listen: str = "127.0.0.1:0", **http: Secret) -> Settings:
    return replace(Settings(), worker=Worker(listen=listen), http=Http(**http))


def get(operating: Operating, path: str, **headers: str) -> httpx.Response:
    return httpx.get(f"{operating.address}{path}", headers=headers, trust_env=False)


def test_it_serves_three_paths_and_nothing_else() -> None:
    meters = Meters()
    meters.wait("broker", "waiting for the broker at nowhere:1")
    meters.wait("decode", "no partitions yet")
    with Operating(settings(), meters) as operating:
        answer = get(operating, "/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=")
        assert "opsbrain_build_info" in Scrape.of(answer.text).samples
        assert (get(operating, "/healthz").status_code, get(operating, "/healthz").text) == (200, "ok\n")
        unready = get(operating, "/readyz")
        assert unready.status_code == 503
        assert unready.text == "broker: waiting for the broker at nowhere:1\ndecode: no partitions yet\n"
        meters.ready("broker")
        meters.ready("decode")
        assert get(operating, "/readyz").status_code == 200
        assert get(operating, "/").status_code == 404


def test_a_token_guards_the_figures_and_not_the_health() -> None:
    guarded = settings(metrics_token=Secret("scrape-me"), token=Secret("all-of-it"))
    with Operating(guarded, Meters()) as operating:
        assert get(operating, "/metrics").status_code == 401
        assert get(operating, "/metrics", authorization="Bearer wrong").status_code == 401
        assert get(operating, "/metrics", authorization="Bearer scrape-me").status_code == 200
        assert get(operating, "/metrics", authorization="Bearer all-of-it").status_code == 200
        assert get(operating, "/healthz").status_code == get(operating, "/readyz").status_code == 200


def test_without_a_token_pages_of_other_names_read_nothing() -> None:
    with Operating(settings(), Meters()) as operating:
        assert get(operating, "/metrics", host="evil.example").status_code == 403
        assert get(operating, "/healthz", host="10.0.0.7:9108").status_code == 200


def test_beyond_loopback_it_wants_a_token() -> None:
    with pytest.raises(ConfigError, match=r"worker\.listen = 0\.0\.0\.0 .*http\.metrics_token"):
        Operating(settings("0.0.0.0:0"), Meters())
    with Operating(settings("0.0.0.0:0", metrics_token=Secret("scrape-me")), Meters()):
        pass


@pytest.mark.parametrize("text", ["9108", ":9108", "localhost", "localhost:http", "127.0.0.1:70000", "h:-1"])
def test_what_is_no_address_is_refused_with_how_it_is_written(text: str) -> None:
    with pytest.raises(ConfigError, match=r"worker\.listen: .* is not host:port"):
        address_of(text)


def test_addresses_are_read() -> None:
    assert address_of("127.0.0.1:0") == ("127.0.0.1", 0)
    assert address_of("[::1]:9108") == ("::1", 9108)


def test_a_second_worker_on_a_machine_takes_a_free_port_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Operating(settings(f"127.0.0.1:{port}"), Meters()) as operating:
            assert get(operating, "/healthz").status_code == 200
            assert not operating.address.endswith(f":{port}")
    (line,) = [one.getMessage() for one in caplog.records if "worker.listen" in one.getMessage()]
    assert "cannot listen" in line and "instead" in line


def test_a_role_that_does_not_come_round_is_stuck_unless_the_broker_keeps_it_waiting() -> None:
    now_s = [0.0]
    meters = Meters(lambda: now_s[0])
    meters.beat("decode")
    now_s[0] = STUCK_S
    meters.beat("steps")
    assert what_is_stuck(meters) == []
    now_s[0] += 1
    assert what_is_stuck(meters) == ["decode has made no progress for 301 s"]
    meters.wait("broker", "waiting for it")
    assert what_is_stuck(meters) == []
    assert what_is_awaited(meters) == ["broker: waiting for it"]
    meters.ready("broker")
    meters.beat("decode")
    assert what_is_stuck(meters) == what_is_awaited(meters) == []
