"""A real Prometheus is asked for what it knows; its series are the ones that are sent later."""

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from ingest.identity import Identity
from ingest.registry import format_of
from opsbrain.pull.prometheus_backfill import FORMAT, BackfillConfig, PrometheusBackfill
from tests.parts.processes import eventually


class Target(BaseHTTPRequestHandler):
    """A target with one gauge and one counter."""

    def do_GET(self) -> None:
        body = b"# TYPE queue_depth gauge\nqueue_depth 7\n# TYPE jobs_total counter\njobs_total 41\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Kept:
    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def keep(self, format: str, body: bytes) -> None:
        self.bodies.append(body)


def test_history_comes_from_a_real_prometheus(prometheus2, tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), Target)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    target = {"targets": [f"127.0.0.1:{server.server_port}"], "labels": {"namespace": "shop", "pod": "store-0"}}
    prometheus = prometheus2(
        {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "store", "static_configs": [target]}],
        }
    )
    eventually(lambda: prometheus.get("/api/v1/query?query=queue_depth")["data"]["result"], timeout_s=30)
    kept = Kept()
    now_ms = time.time_ns() // 1_000_000 + 2_000
    config = BackfillConfig(prometheus.url, "", ('{__name__=~"queue_depth|jobs_total"}',), 60_000, 1_000)
    PrometheusBackfill(config, kept, tmp_path, now_ms).poll(now_ms)
    server.shutdown()
    decoded = format_of(FORMAT, Identity("demo")).decode(kept.bodies, range(len(kept.bodies)), FORMAT)
    assert not decoded.letters
    said = decoded.rows.select("entity", "indicator", "form", "value").unique().sort("indicator").rows()
    assert said == [
        ("demo/service/shop/store", "jobs_total", "counter", 41.0),
        ("demo/service/shop/store", "queue_depth", "gauge", 7.0),
    ]
