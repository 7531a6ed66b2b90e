"""`opsbrain receive` on a real broker: what it answered for is there once, whoever is killed in between."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx
import pytest

from engine.repeats import request_hash
from engine.runners.kafka.config import REQUEST_HEADER
from opsbrain.endpoints import GRPC_METHODS
from tests.conftest import ROOT
from tests.kafka.conftest import Broker, run, unavailable
from tests.kafka.topics import create_topic, end, messages
from tests.kafka.workers import Cluster, opsbrain, working
from tests.parts.processes import free_port, free_ports

HOUR_S = 3_600
T0_S = 1_700_000_000 // HOUR_S * HOUR_S
LINES = 7


def lines(number: int) -> bytes:
    """Return one request of Fluent Bit: lines that nothing but their request tells from others."""
    record = {"@timestamp": T0_S + 0.5, "kubernetes": {"pod_name": "store-0", "namespace_name": "shop"}}
    return json.dumps([{**record, "log": f"INFO request {number}"}] * LINES).encode()


@dataclass
class Receiver:
    """`opsbrain receive` as a process on ports of its own."""

    settings: Path
    port: int = field(default_factory=free_port)
    grpc_port: int = field(default_factory=free_port)
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "opsbrain", "receive", "--config", str(self.settings)]
        ports = ["--set", f"http.port={self.port}", "--set", f"receivers.grpc_port={self.grpc_port}"]
        self.process = subprocess.Popen(
            [*command, *ports], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None and self.process.stderr is not None
        assert "receives on" in self.process.stdout.readline(), self.process.stderr.read()

    def end(self, how: int = signal.SIGTERM) -> tuple[int, str]:
        assert self.process is not None
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=40)
        return self.process.returncode, out + err


@pytest.fixture
def receivers() -> Iterator[list[Receiver]]:
    """Hold the processes that a test starts, and leave none behind."""
    started: list[Receiver] = []
    try:
        yield started
    finally:
        for one in started:
            if one.process is not None:
                one.process.kill()
                one.process.communicate()


def receiver_of(cluster: Cluster, receivers: list[Receiver]) -> Receiver:
    receivers.append(Receiver(cluster.settings))
    receivers[-1].start()
    return receivers[-1]


def over(broker: Broker, folder: Path, formats: dict[str, str]) -> Cluster:
    return Cluster.over(
        broker.bootstrap, folder, f"receive-{time.time_ns()}", formats, scope="demo", resolution_s=HOUR_S, partitions=2
    )


def test_a_killed_receiver_has_what_it_answered_for_and_workers_count_it_once(
    broker: Broker, tmp_path: Path, receivers: list[Receiver]
) -> None:
    topic = create_topic(broker, 3)
    bodies = [lines(number) for number in range(200)]
    waiting = [*bodies, *bodies[::10]]  # every tenth once more, as if its answer had been lost
    lock = threading.Lock()
    with working(over(broker, tmp_path, {topic: "fluentbit"})) as cluster:
        receiver = receiver_of(cluster, receivers)

        def client() -> None:
            with httpx.Client(base_url=receiver.url, trust_env=False, timeout=30) as http:
                while True:
                    with lock:
                        if not waiting:
                            return
                        body = waiting.pop(0)
                    while not taken(http, body):
                        time.sleep(0.05)

        clients = [threading.Thread(target=client) for _ in range(4)]
        for one in clients:
            one.start()
        while len(waiting) > 120:
            time.sleep(0.002)
        receiver.end(signal.SIGKILL)
        receiver.start()
        for one in clients:
            one.join(timeout=60)
        assert receiver.end()[0] == 0

        kept = messages(broker, topic)
        assert {one.value() for one in kept} == set(bodies)
        assert len(kept) >= len(bodies) + len(bodies[::10])
        places: dict[bytes, set[int]] = {}
        for one in kept:
            name = f"{request_hash(one.value()):016x}".encode()
            assert (one.key(), dict(one.headers())) == (name, {REQUEST_HEADER: name})
            places.setdefault(one.value(), set()).add(one.partition())
        assert {len(one) for one in places.values()} == {1}, "equal bodies meet in one partition"
        assert len(set.union(*places.values())) == 3

        end(broker, topic, 3)
        cluster.start()
        cluster.wait_until_done()
        assert cluster.stop() == [0], cluster.said()
        rows = json.loads((cluster.export() / "summary.json").read_text())["rows"]
    assert (rows["accepted"], rows["late"], rows["dead_lettered"]) == (len(bodies) * LINES, 0, 0)


def taken(http: httpx.Client, body: bytes) -> bool:
    try:
        return http.post("/fluentbit", content=body).status_code == 202
    except httpx.TransportError:
        return False


def test_what_has_no_topic_or_is_too_large_says_so(broker: Broker, tmp_path: Path, receivers: list[Receiver]) -> None:
    logs, small = create_topic(broker, 1), create_topic(broker, 1, max_message_bytes="2000")
    cluster = over(broker, tmp_path, {logs: "otlp-logs", small: "fluentbit"})
    receiver = receiver_of(cluster, receivers)
    noise = "all the same " * 4_000
    with httpx.Client(base_url=receiver.url, trust_env=False) as http:
        as_json = {"content-type": "application/json"}
        answers = [
            http.post("/v1/logs", content=b"{}", headers=as_json),
            http.post("/v1/metrics", content=b"{}", headers=as_json),
            http.post("/fluentbit", content=json.dumps({"log": noise}).encode()),
            http.post("/fluentbit", content=random_json(20_000)),
            http.get("/healthz"),
        ]
        requests = http.get("/sources").json()["requests"]
    assert [one.status_code for one in answers] == [200, 404, 202, 413, 200]
    assert "kafka.telemetry" in answers[1].json()["message"]
    assert small in answers[3].json()["error"] and "max.message.bytes" in answers[3].json()["error"]
    assert requests["otlp-logs"]["kept"] == 1
    with grpc.insecure_channel(f"127.0.0.1:{receiver.grpc_port}") as channel:
        export, refused = list(GRPC_METHODS)[:2]
        assert channel.unary_unary(export)(b"\n\x00", timeout=20) == b""
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary(refused)(b"\n\x00", timeout=20)
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert [one.value() for one in messages(broker, logs)] == [b"{}", b"\n\x00"]
    status, said = receiver.end()
    assert status == 0 and "stopped" in said


def random_json(size: int) -> bytes:
    return json.dumps({"log": random.Random(1).randbytes(size // 2).hex()}).encode()


def test_a_broker_that_is_away_makes_senders_wait(tmp_path: Path, receivers: list[Receiver]) -> None:
    nowhere = Broker(f"127.0.0.1:{free_port()}", None)
    receiver = receiver_of(over(nowhere, tmp_path, {"telemetry.logs": "fluentbit"}), receivers)
    answer = httpx.post(f"{receiver.url}/fluentbit", content=lines(1), trust_env=False, timeout=30)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "kafka" in answer.json()["error"]
    assert receiver.end()[0] == 0


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Broker, Callable[[], None]]]:
    """Yield a broker of this test's own, and what starts it again where it was."""
    if (check := run("check")).returncode != 0:
        unavailable(check.stderr.strip())
    data, (port, controller) = tmp_path / "kafka", free_ports(2)

    def start() -> None:
        told = ("--data", str(data), "--port", str(port), "--controller-port", str(controller))
        started = run("start", *told)
        assert started.returncode == 0, started.stderr

    start()
    try:
        yield Broker(f"127.0.0.1:{port}", data), start
    finally:
        run("stop", "--data", str(data))


def test_a_broker_that_is_killed_and_comes_back_has_every_body(
    own: tuple[Broker, Callable[[], None]], tmp_path: Path, receivers: list[Receiver]
) -> None:
    broker, start = own
    topic = create_topic(broker, 1)
    receiver = receiver_of(over(broker, tmp_path, {topic: "fluentbit"}), receivers)
    bodies = [lines(number) for number in range(30)]
    statuses: list[int] = []
    with httpx.Client(base_url=receiver.url, trust_env=False, timeout=30) as http:
        for number, body in enumerate(bodies):
            if number == 10:
                os.kill(broker.pid(), signal.SIGKILL)
                answer = http.post("/fluentbit", content=body)
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
                start()
            while (status := http.post("/fluentbit", content=body).status_code) != 202:
                statuses.append(status)
                assert len(statuses) < 100
    assert set(statuses) <= {503}
    kept = [one.value() for one in messages(broker, topic)]
    assert set(kept) == set(bodies)
    assert len(kept) <= len(bodies) + len(statuses) + 1
    assert receiver.end()[0] == 0


def test_what_is_wrong_in_settings_is_one_line(tmp_path: Path) -> None:
    twice = "".join(f'[[kafka.telemetry]]\ntopic = "{name}"\nformat = "fluentbit"\n' for name in "ab")
    (tmp_path / "twice.toml").write_text(f'[kafka]\nbootstrap = "127.0.0.1:1"\n{twice}')
    for arguments, part in (
        ((), "kafka.bootstrap is empty"),
        (("--set", "http.host=0.0.0.0", "--set", "kafka.bootstrap=x:1"), "receivers.ingest_token"),
        (("--config", str(tmp_path / "twice.toml")), "receivers.topics.fluentbit"),
    ):
        done = opsbrain("receive", *arguments)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert part in done.stderr
