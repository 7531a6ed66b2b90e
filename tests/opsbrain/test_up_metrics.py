"""What `opsbrain up` serves of itself: rows and requests add up, and health says why not."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

from starlette.testclient import TestClient

from opsbrain.health import STUCK_S
from opsbrain.secrets import Secret
from opsbrain.service import Service
from opsbrain.settings import Http, Identity, Pipeline, Receivers, Settings, Store
from tests.opsbrain.scrapes import Scrape, check_four

T0 = 1_700_000_000_000
HERE = "http://127.0.0.1:8080"


def settings(folder: Path, http: Http | None = None) -> Settings:
    return Settings(
        pipeline=Pipeline(resolution_s=10),
        identity=Identity(scope="demo"),
        store=Store(folder=folder),
        http=http or Http(port=0),
        receivers=Receivers(grpc_port=0),
    )


def line(second: int) -> bytes:
    sender = {"pod_name": "store-0", "namespace_name": "shop"}
    return json.dumps({"@timestamp": T0 / 1000 + second, "log": "INFO served", "kubernetes": sender}).encode() + b"\n"


def test_rows_and_requests_are_counted(tmp_path: Path) -> None:
    with Service(settings(tmp_path), lambda: T0 + 120_000) as service:
        client = TestClient(service._app, base_url=HERE)
        check_four(Scrape.of(client.get("/metrics").text))
        for body in (b"".join(line(second) for second in range(100)), line(1), b"nonsense"):
            assert client.post("/fluentbit", content=body).status_code == 202
        assert client.post("/receive/nothing", content=b"{}").status_code == 404
        service.live.drain(T0 + 120_000)
        read = Scrape.of(client.get("/metrics").text)
    check_four(read)
    assert read.components("opsbrain_received_total") == {"decode", "notify", "receive"}
    assert read.value("opsbrain_received_total", component="decode", of="fluentbit") == 102
    dropped = {
        dict(labels)["reason"]: rows
        for labels, rows in read.samples["opsbrain_dropped_total"].items()
        if dict(labels)["component"] == "decode"
    }
    assert dropped == {"late": 1, "duplicate": 0, "dead_letter": 1, "label_cardinality": 0}
    assert read.value("opsbrain_sent_total", component="decode", of="windows") == 100
    assert read.value("opsbrain_sent_total", component="receive", of="fluentbit") == 3
    assert read.value("opsbrain_dropped_total", component="receive", reason="404") == 1
    assert 20 < read.value("opsbrain_watermark_delay_seconds", input="fluentbit") < 40


def test_a_crowded_metric_is_counted_and_not_named(tmp_path: Path) -> None:
    crowded = replace(settings(tmp_path), pipeline=Pipeline(resolution_s=10, max_series_per_metric=1))
    with Service(crowded, lambda: T0) as service:
        client = TestClient(service._app, base_url=HERE)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(T0 / 1000))
        samples = [
            {"timestamp": stamp, "value": "1", "name": "hits", "labels": {"__name__": "hits", "job": "a", "user": user}}
            for user in ("one", "two", "three")
        ]
        assert client.post("/receive/prometheus-adapter", content=json.dumps(samples)).status_code == 202
        service.live.drain(T0)
        text = client.get("/metrics").text
    assert Scrape.of(text).value("opsbrain_dropped_total", component="decode", reason="label_cardinality") == 2
    assert "hits" not in text


def test_a_token_of_its_own_opens_metrics_and_nothing_else(tmp_path: Path) -> None:
    http = Http(port=0, token=Secret("all-of-it"), metrics_token=Secret("scrape-me"))
    with Service(settings(tmp_path, http)) as service:
        client = TestClient(service._app, base_url=HERE)
        bearing = {"authorization": "Bearer scrape-me"}
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers=bearing).status_code == 200
        for path in ("/", "/sources", "/api/incidents"):
            assert client.get(path, headers=bearing).status_code == 401
        assert client.post("/fluentbit", content=line(0), headers=bearing).status_code == 401
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


def test_a_pipeline_that_stands_still_is_not_healthy(tmp_path: Path) -> None:
    with Service(settings(tmp_path)) as service:
        client = TestClient(service._app, base_url=HERE)
        service._meters.beats["live"] = service._meters.seconds() - STUCK_S - 1
        answer = client.get("/healthz")
        assert answer.status_code == 503 and answer.text.startswith("live has made no progress for 30")
        service._meters.beat("live")
        assert client.get("/healthz").text == "ok\n"
        assert set(service._meters.beats) == {"live"}  # without receivers nobody delivers, and nothing is late
