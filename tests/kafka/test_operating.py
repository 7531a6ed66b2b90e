"""A worker and receivers as an operator sees them: /metrics, /healthz and /readyz over a real broker."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx

from engine.flow import FLOW
from opsbrain.receiving import Receiving
from opsbrain.settings import Http
from opsbrain.settings import Receivers as ReceiverSettings
from opsbrain.settings_load import load_settings
from tests.kafka.conftest import Broker, free_ports
from tests.kafka.topics import create_topic, end
from tests.kafka.workers import Cluster, wait_until, working
from tests.opsbrain.scrapes import Scrape, check_four

ROWS = 300


def fill(broker: Broker, topic: str, partitions: int) -> None:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": broker.bootstrap})
    sender = {"pod_name": "store-0", "namespace_name": "shop"}
    begin_s = time.time() - 2 * ROWS
    for number in range(ROWS):
        body = json.dumps({"@timestamp": begin_s + number, "log": "INFO served", "kubernetes": sender})
        producer.produce(topic, body.encode(), partition=number % partitions)
    producer.produce(topic, b"nonsense", partition=0)
    assert producer.flush(20) == 0


class Worker:
    """One worker that listens on a port of this test's own."""

    def __init__(self, cluster: Cluster, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        text = cluster.settings.read_text()
        cluster.settings.write_text(text.replace('listen = ""', f'listen = "127.0.0.1:{port}"'))
        cluster.start()

    def get(self, path: str) -> httpx.Response | None:
        try:
            return httpx.get(f"{self.url}{path}", trust_env=False, timeout=10)
        except httpx.TransportError:
            return None

    def answers(self, path: str, status: int, part: str = "") -> Callable[[], bool]:
        def asked() -> bool:
            answer = self.get(path)
            return answer is not None and answer.status_code == status and part in answer.text

        return asked

    def scrape(self) -> Scrape:
        answer = self.get("/metrics")
        assert answer is not None and answer.status_code == 200
        return Scrape.of(answer.text)


def over(broker: Broker, folder: Path, topic: str) -> Cluster:
    name = f"operating-{time.time_ns()}"
    return Cluster.over(
        broker.bootstrap, folder, name, {topic: "fluentbit"}, scope="demo", resolution_s=10, partitions=2
    )


def total(read: Scrape, name: str, component: str) -> float:
    found = read.samples[name].items()
    return sum(value for labels, value in found if dict(labels)["component"] == component)


def test_a_worker_tells_how_it_is(broker: Broker, tmp_path: Path) -> None:
    topic = create_topic(broker, 3, "operating")
    fill(broker, topic, 3)
    with working(over(broker, tmp_path, topic)) as cluster:
        worker = Worker(cluster, free_ports()[0])
        wait_until(worker.answers("/readyz", 200), 60)
        end(broker, topic, 3)
        cluster.wait_until_done()
        wait_until(lambda: lag_of(worker.scrape(), "decode") == lag_of(worker.scrape(), "steps") == 0, 60)
        read = worker.scrape()
        assert worker.answers("/healthz", 200)()
        check_four(read)
        assert read.components("opsbrain_received_total") == {"decode", "notify", *(one.step for one in FLOW)}
        assert total(read, "opsbrain_received_total", "decode") == ROWS + 1
        assert read.value("opsbrain_dropped_total", component="decode", reason="dead_letter") == 1
        assert total(read, "opsbrain_errors_total", "decode") == 0
        assert total(read, "opsbrain_received_total", "scope") > 0
        for component in ("decode", "detect"):
            assert total(read, "opsbrain_sent_total", component) > 0
        assigned = {dict(labels)["role"]: n for labels, n in read.samples["opsbrain_partitions_assigned"].items()}
        assert assigned == {"decode": 3, "notify": 4, "steps": 2 * sum(len(one.reads) for one in FLOW)}
        ages = {dict(labels)["role"]: age for labels, age in read.samples["opsbrain_checkpoint_age_seconds"].items()}
        assert set(ages) == {"decode", "steps", "notify"} and max(ages.values()) < 30
        stages = {dict(labels)["stage"] for labels in read.samples["opsbrain_stage_seconds_total"]}
        assert stages >= {"consume", "decode", "window", "encode", "detect", "scope", "snapshot", "notify"}
        assert read.value("opsbrain_broker_connected") == 1
        assert read.value("opsbrain_state_series") > 0
        assert cluster.stop() == [0], cluster.said()


def lag_of(read: Scrape, role: str) -> float:
    return sum(
        n for labels, n in read.samples["opsbrain_consumer_lag_messages"].items() if dict(labels)["role"] == role
    )


def test_a_broker_that_freezes_makes_a_worker_unready_and_not_unhealthy(broker: Broker, tmp_path: Path) -> None:
    pid = broker.pid()
    topic = create_topic(broker, 1, "operating")
    with working(over(broker, tmp_path, topic)) as cluster:
        worker = Worker(cluster, free_ports()[0])
        wait_until(worker.answers("/readyz", 200), 60)
        try:
            os.kill(pid, signal.SIGSTOP)
            wait_until(worker.answers("/readyz", 503, "broker: waiting for the broker at"), 60)
            assert worker.scrape().value("opsbrain_broker_connected") == 0
            assert worker.answers("/healthz", 200)()
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_until(worker.answers("/readyz", 200), 60)
        assert worker.scrape().value("opsbrain_broker_connected") == 1
        assert cluster.stop() == [0], cluster.said()


def test_a_worker_before_its_broker_says_what_it_waits_for(tmp_path: Path) -> None:
    nowhere = Broker(f"127.0.0.1:{free_ports()[0]}", None)
    with working(over(nowhere, tmp_path, "telemetry.logs")) as cluster:
        worker = Worker(cluster, free_ports()[0])
        wait_until(worker.answers("/readyz", 503, "no broker answers"), 60)
        assert worker.answers("/healthz", 200)()
        assert worker.scrape().value("opsbrain_broker_connected") == 0
        assert cluster.stop() == [0], cluster.said()


def test_receivers_are_ready_when_a_broker_answers(broker: Broker, tmp_path: Path) -> None:
    topic = create_topic(broker, 1, "operating")
    settings = load_settings(over(broker, tmp_path, topic).settings, {})
    settings = replace(settings, http=Http(port=0), receivers=ReceiverSettings(grpc_port=0))
    stopped = threading.Event()
    with Receiving(settings) as receiving:
        thread = threading.Thread(target=receiving.run, args=(stopped,))
        thread.start()
        try:
            with httpx.Client(base_url=receiving.address, trust_env=False, timeout=30) as http:
                wait_until(lambda: http.get("/readyz").status_code == 200)
                assert http.post("/fluentbit", content=b'{"log": "INFO"}').status_code == 202
                read = Scrape.of(http.get("/metrics").text)
        finally:
            stopped.set()
            thread.join()
    check_four(read)
    assert read.value("opsbrain_sent_total", component="receive", of="fluentbit") == 1
    assert read.value("opsbrain_broker_connected") == 1
