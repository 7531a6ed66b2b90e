"""What a worker serves, scraped by a real Prometheus with our rules: every panel and rule finds what it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from engine.runners import meters as names
from engine.runners.meters import Component, Meters
from opsbrain.operating import Operating
from opsbrain.settings import Settings, Worker
from tests.deploy.test_grafana import expressions, filled_in
from tests.deploy.test_prometheus import FOLDER, RECORDED
from tests.parts.processes import eventually

STAGES = ("consume", "decode", "window", "encode", "detect", "join", "fit", "scope", "snapshot", "notify")
QUIET = ("> 0",)  # asks for what does not happen here


class Busy:
    """A worker whose figures grow whenever somebody looks."""

    def __init__(self) -> None:
        self.meters, self._looks = Meters(), 0
        for component, of, reasons in (
            ("decode", "telemetry.logs/0", ("late", "dead_letter", "label_cardinality")),
            ("detect", "features", ("repeat",)),
            ("notify", "incidents", ("failed",)),
        ):
            one = self.meters.component(
                component, received=(of,), sent=("on-call",), dropped=reasons, errors=("commit",)
            )
            self.meters.reading(component, lambda one=one: self._grown(one))  # type: ignore[misc]
        self.meters.gauge(names.LAG, ("role", "topic", "partition"), lambda: {("decode", "telemetry.logs", "0"): 3})
        self.meters.gauge(names.ASSIGNED, ("role",), lambda: {("decode",): 1, ("steps",): 8})
        self.meters.gauge(names.WATERMARK_DELAY, ("input",), lambda: {("telemetry.logs/0",): 61.0})
        for name in (names.BROKER_CONNECTED, names.MEMORY_LIMIT, names.STATE_SERIES):
            self.meters.set(name, 1)
        for name in (names.PAUSED, names.OUTBOX_PENDING):
            self.meters.set(name, 0)
        self.meters.checkpointed("decode")

    def _grown(self, one: Component) -> Component:
        for counter in (one.received, one.sent, one.dropped, one.errors):
            for name in counter:
                counter[name] += 10
        for stage in STAGES:
            self.meters.stage_s[stage] += 0.01
        return one


@pytest.fixture(scope="module")
def scraping(prometheus2: Any) -> Iterator[Any]:
    with Operating(Settings(worker=Worker(listen="127.0.0.1:0")), Busy().meters) as operating:
        target = operating.address.removeprefix("http://")
        config = {
            "global": {"scrape_interval": "200ms", "evaluation_interval": "200ms"},
            "rule_files": [str(FOLDER / name) for name in ("rules.yml", "alerts.yml")],
            "scrape_configs": [{"job_name": "opsbrain-worker", "static_configs": [{"targets": [target]}]}],
        }
        with prometheus2(config) as web:
            assert eventually(lambda: len(found(web, "job_reason:opsbrain_decode_dropped:ratio_rate5m")) == 3)
            yield web


def found(web: Any, expression: str) -> list[Any]:
    return list(web.get(f"/api/v1/query?query={quote(expression)}")["data"]["result"])


@pytest.mark.prometheus2
def test_every_panel_has_something_to_show(scraping: Any) -> None:
    asked_for = [filled_in(one) for one in expressions() if not one.rstrip().endswith(QUIET)]
    empty = [one for one in asked_for if not found(scraping, one)]
    assert not empty


@pytest.mark.prometheus2
def test_every_recording_rule_records_and_none_fails(scraping: Any) -> None:
    groups = scraping.get("/api/v1/rules")["data"]["groups"]
    assert all(rule["health"] == "ok" for group in groups for rule in group["rules"])
    assert all(found(scraping, name) for name in RECORDED)


@pytest.mark.prometheus2
def test_labels_of_the_alerts_are_those_of_the_figures(scraping: Any) -> None:
    for expression in (
        'opsbrain_dropped_total{component="decode", reason="label_cardinality"}',
        'opsbrain_watermark_delay_seconds{input!~".*cost.*"}',
        "sum by (job, role) (opsbrain_partitions_assigned)",
    ):
        assert found(scraping, expression), expression


def test_nothing_here_depends_on_this_machine() -> None:
    texts = [path.read_text(encoding="utf-8") for path in Path(FOLDER).glob("*.yml")]
    assert not any(word in text for text in texts for word in ("/home/", "/root/", "localhost"))
