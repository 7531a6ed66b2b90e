"""Prometheus scrapes two targets and writes to us, by 1.0 and 2.0: every sample is one Record of the right entity."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl

from engine.errors import Retryable
from opsbrain.listening import listening
from opsbrain.receive_body import BodyLimits, Budget
from opsbrain.remote_write_http import undone
from opsbrain.serving import Servers
from tests.opsbrain.doors import Doors
from tests.parts.processes import eventually, fetch
from tests.parts.programs import Web
from tests.parts.up import Up, rows_of, up

PODS = {"checkout-5d8f7c9b6d-x2x4z": "checkout", "store-0": "store"}
SERIES = 20
FORMAT = "prometheus-remote-write"
VERSIONS = {"prometheus2": "prometheus.WriteRequest", "prometheus3": "io.prometheus.write.v2.Request"}


@contextmanager
def target() -> Iterator[str]:
    """Yield the address of something to scrape: counters that count scrapes, and a gauge that is not a number."""
    scrapes = itertools.count(1)

    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            now = next(scrapes)
            lines = [f'hits_total{{path="/{number}"}} {now * number}' for number in range(SERIES)]
            body = "\n".join(["# TYPE hits_total counter", *lines, "# TYPE odd gauge", "odd NaN", ""]).encode()
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Metrics)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def config(addresses: list[str], url: str, message: str) -> dict[str, Any]:
    targets = [
        {"targets": [address], "labels": {"namespace": "shop", "pod": pod}}
        for address, pod in zip(addresses, PODS, strict=True)
    ]
    write: dict[str, Any] = {
        "url": f"{url}/api/v1/write",
        "authorization": {"credentials": "shipper-token"},
        "queue_config": {"min_backoff": "50ms", "max_backoff": "200ms", "batch_send_deadline": "200ms"},
    }
    if message != VERSIONS["prometheus2"]:
        write["protobuf_message"] = message
    return {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "400ms"},
        "scrape_configs": [{"job_name": "shop", "static_configs": targets}],
        "remote_write": [write],
    }


def scraped(web: Web, metric: str) -> Counter[tuple[str, int, float]]:
    """Return (pod and path, time, value) of every sample that Prometheus itself has kept."""
    answer = web.get(f"/api/v1/query?query={metric}[10m]")["data"]["result"]
    return Counter(
        (f"{one['metric']['pod']} {one['metric'].get('path', '')}".strip(), round(float(at) * 1000), float(value))
        for one in answer
        for at, value in one["values"]
    )


def taken(receiver: Up, metric: str) -> Counter[tuple[str, int, float]]:
    """Return the same of the Records that we have."""
    return counted(receiver.rows("prometheus-remote-write"), metric)


def counted(rows: pl.DataFrame, metric: str) -> Counter[tuple[str, int, float]]:
    """Return how often each sample of a metric is among the Records."""
    pods = {f"demo/service/shop/{service}": pod for pod, service in PODS.items()}
    found: Counter[tuple[str, int, float]] = Counter()
    for ts_ms, entity, indicator, value in rows.select("ts_ms", "entity", "indicator", "value").iter_rows():
        name, _, labels = indicator.partition("{")
        if name == metric and entity in pods:
            path = labels.partition("path=")[2].strip('"}').split(",")[0].strip('"')
            found[f"{pods[entity]} {path}".strip(), ts_ms, value] += 1
    return found


def failures(web: Web) -> dict[str, int]:
    """Return how much Prometheus has given up sending."""
    lines = fetch(f"{web.url}/metrics").decode().splitlines()
    name = "prometheus_remote_storage_{}_failed_total"
    return {
        what: sum(int(float(one.split()[-1])) for one in lines if one.startswith(name.format(what)))
        for what in ("samples", "histograms", "exemplars")
    }


def test_prometheus_2_writes_by_1_0(prometheus2: Callable[..., Web], tmp_path: Path) -> None:
    every_sample_is_found_once(prometheus2, VERSIONS["prometheus2"], tmp_path)


def test_prometheus_3_writes_by_2_0(prometheus3: Callable[..., Web], tmp_path: Path) -> None:
    every_sample_is_found_once(prometheus3, VERSIONS["prometheus3"], tmp_path)


def every_sample_is_found_once(launch: Callable[..., Web], message: str, work: Path) -> None:
    with up(work, {"receivers.ingest_token": "shipper-token"}) as receiver, target() as one, target() as other:
        with launch(config([one, other], receiver.url, message)) as web:
            assert eventually(lambda: len(taken(receiver, "up")) >= 4), web.last_words() + receiver.last_words()
            receiver.kill()  # with whatever was under way; Prometheus sends it again
            before = sum(scraped(web, "up").values())
            assert eventually(lambda: sum(scraped(web, "up").values()) >= before + 4)
            receiver.again()
            truth = {metric: scraped(web, metric) for metric in ("up", "hits_total", "odd")}
            assert eventually(lambda: not truth["hits_total"] - taken(receiver, "hits_total")), web.last_words()
            failed = failures(web)
        for metric in ("up", "hits_total"):
            found = taken(receiver, metric)
            assert not truth[metric] - found, f"samples of {metric} are missing"
            assert max(found.values()) == 1, f"samples of {metric} are there twice"
        assert {pod for pod, _, _ in taken(receiver, "odd")} == set(PODS)
        accounts = receiver.sources()["prometheus-remote-write"]
        assert accounts["accepted"] == receiver.rows("prometheus-remote-write").height
        assert accounts["late"] == accounts["dead_lettered"] == 0
        assert failed == {"samples": 0, "histograms": 0, "exemplars": 0}, "Prometheus gave something up"
        first_field = {VERSIONS["prometheus2"]: 1, VERSIONS["prometheus3"]: 4}[message]
        bodies = [undone(one, 1 << 24, lambda size: None) for one in receiver.bodies("prometheus-remote-write")]
        assert {one[0] >> 3 for one in bodies if one} <= {first_field, 3}, "it is the message that was asked for"
        assert "shipper-token" not in receiver.last_words()


def test_what_is_held_up_by_a_full_receiver_comes_later(prometheus2: Callable[..., Web]) -> None:
    doors = Doors(limits=BodyLimits(1 << 20, 5.0), budget=Budget(8 << 20))
    doors.kept.refusal = Retryable("the journal is full", 0.2)
    with listening("127.0.0.1", 0) as listener, target() as one, target() as other:
        servers = Servers(doors.app, listener, None, 2.0)
        servers.start()
        try:
            with prometheus2(config([one, other], servers.address, VERSIONS["prometheus2"])) as web:
                refused = lambda: doors.tally.counts().get("prometheus-remote-write", {}).get("503", 0)  # noqa: E731
                assert eventually(lambda: refused() >= 5), web.last_words()
                doors.kept.refusal = None
                truth = scraped(web, "hits_total")
                found = lambda: counted(rows_of(FORMAT, [body for _, body in doors.kept.bodies]), "hits_total")  # noqa: E731
                assert eventually(lambda: not truth - found()), web.last_words()
                assert failures(web)["samples"] == 0
            assert max(found().values()) == 1
        finally:
            servers.stop()
