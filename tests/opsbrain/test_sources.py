"""`GET /sources` and the console say where every row went, per input."""

from __future__ import annotations

import html
import json
import time
from pathlib import Path

from starlette.testclient import TestClient

from engine.types import DeadLetter
from opsbrain.dead_reasons import MAX_REASONS, DeadReasons
from opsbrain.report.page import render_report
from opsbrain.report.view import ReportView
from opsbrain.service import Service
from opsbrain.settings import Http, Identity, Receivers, Settings, Store
from opsbrain.sources import Source, reasons

T0_S = 1_700_000_000
HERE = "http://127.0.0.1:8080"


def line(text: str, at_s: float = T0_S) -> dict[str, object]:
    return {"@timestamp": at_s, "log": text, "kubernetes": {"pod_name": "store-0", "namespace_name": "shop"}}


def sample(number: int, stamp: str) -> dict[str, object]:
    labels = {"__name__": "hits", "job": "shop", "user": str(number)}
    return {"timestamp": stamp, "value": "1", "name": "hits", "labels": labels}


def test_each_row_is_told_under_its_input(tmp_path: Path) -> None:
    settings = Settings(
        identity=Identity(scope="demo"),
        store=Store(folder=tmp_path),
        http=Http(port=0),
        receivers=Receivers(grpc_port=0),
    )
    with Service(settings, lambda: T0_S * 1000) as service:
        client = TestClient(service._app, base_url=HERE)
        lines = json.dumps([line("INFO hello"), line("INFO password=hunter22x"), line("INFO old", T0_S - 9_000)])
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(T0_S))
        for format, body in (
            ("fluentbit", lines),
            ("fluentbit", lines),
            ("fluentbit", '{"log": 1}'),
            ("prometheus-adapter", json.dumps([sample(number, stamp) for number in range(3)])),
            ("prometheus-adapter", json.dumps([sample(number, stamp) for number in range(4)])),
        ):
            assert client.post(f"/receive/{format}", content=body).status_code == 202
        assert client.post("/receive/fluentbit", content=b"x", headers={"content-encoding": "br"}).status_code == 415
        service.live.drain(T0_S * 1000)
        told = client.get("/sources").json()
        page = client.get("/").text
    sources = {one["name"]: one for one in told["sources"] if one["received"]}
    assert sorted(sources) == ["fluentbit", "prometheus-adapter"]
    logs, metrics = sources["fluentbit"], sources["prometheus-adapter"]
    assert [logs[what] for what in ("received", "accepted", "late", "duplicate", "dead_lettered")] == [7, 2, 2, 2, 1]
    assert logs["scrubbed"]["password"] == 2
    (reason,) = logs["dead_reasons"]
    assert logs["dead_reasons"][reason] == 1 and f"1 dead-lettered: {reason}" in html.unescape(page)
    assert [metrics[what] for what in ("received", "accepted", "duplicate")] == [7, 4, 3]
    assert logs["newest_ms"] == T0_S * 1000 and logs["kind"] == "logs"
    assert told["requests"]["fluentbit"]["kept"] == 3 and told["requests"]["fluentbit"]["415"] == 1
    assert "prometheus-adapter" in page and "password 2" in page and "duplicate" in page


def test_a_crowded_metric_is_an_alarm_in_plain_words() -> None:
    source = Source(
        "prometheus-adapter", "metrics", accepted=5, dropped={"label cardinality of hits": 7}, crowded={"hits": 7}
    )
    assert source.received == 12
    (alarm,) = source.plain()["alarms"]
    assert alarm.startswith("hits has more label sets than are let in") and "7 rows" in alarm
    page = render_report(ReportView("live", sources=[source]))
    assert alarm in page and "label cardinality of hits 7" in page


def test_the_most_frequent_reasons_are_told_and_no_sender_makes_them_many() -> None:
    counted = DeadReasons()
    for number in range(300):
        counted.take([DeadLetter("logs", number, f"reason {number}", "", rows=number + 1)])
    state = counted.state()
    assert len(state["logs"]) == MAX_REASONS + 1 and counted.rows() == {"logs": 300 * 301 // 2}
    assert list(counted.most_frequent("logs").values()) == [300 * 301 // 2 - 5_050, 100, 99]
    assert DeadReasons(state).most_frequent("logs") == counted.most_frequent("logs")
    assert counted.most_frequent("events") == {}


def test_names_that_senders_choose_cannot_break_the_page() -> None:
    page = render_report(ReportView("live", sources=[Source("x", "metrics", crowded={"<script>": 1}, accepted=1)]))
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_reasons_are_in_order() -> None:
    assert reasons({"b": 2, "a": 1_000}) == "a 1,000, b 2"
