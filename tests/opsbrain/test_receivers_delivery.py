"""Whatever crashes, fills up or is sent again: every row is counted, and concluded from, once."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

import opsbrain
from opsbrain.cli import main
from opsbrain.export import read_export
from opsbrain.service import Service
from opsbrain.settings import Http, Identity, Pipeline, Receivers, Settings, Store
from tests.parts.processes import free_port

HOUR_S = 3_600
T0_S = 1_700_000_000 // HOUR_S * HOUR_S
HERE = "http://127.0.0.1:8080"
LINES = 7


def lines(number: int, at_s: int = T0_S, padding: str = "") -> bytes:
    """Return one request of Fluent Bit: lines that nothing but their request tells from others."""
    record = {"@timestamp": at_s + 0.5, "kubernetes": {"pod_name": "store-0", "namespace_name": "shop"}}
    each = [{**record, "log": f"INFO request {number} {padding}"}] * LINES
    return json.dumps(each).encode()


def samples(number: int) -> bytes:
    """Return samples that are themselves by their labels and time."""
    labels = {"__name__": "up", "job": "shop", "instance": f"10.0.{number // 200}.{number % 200}:9100"}
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(T0_S + 1))
    return json.dumps({"timestamp": stamp, "value": "1", "name": "up", "labels": labels}).encode()


LATE = lines(0, T0_S - 10 * HOUR_S)
BAD = b'{"log": 1}\n{"nothing": true}'


@dataclass
class Story:
    """`opsbrain up` in this process, with a client that sends again whatever it is not told of."""

    folder: Path
    journal_mb: int = 16
    deliveries: Counter[tuple[str, bytes]] = field(default_factory=Counter)
    refused: int = 0
    _service: Service | None = None

    def __post_init__(self) -> None:
        self.settings = Settings(
            pipeline=Pipeline(resolution_s=HOUR_S, idle_after_s=HOUR_S, lateness_s=5),
            identity=Identity(scope="demo"),
            store=Store(folder=self.folder, journal_mb=self.journal_mb),
            http=Http(port=0, max_body_mb=4),
            receivers=Receivers(grpc_port=0),
        )

    @property
    def service(self) -> Service:
        if self._service is None:
            self._service = Service(self.settings, lambda: T0_S * 1000)
        return self._service

    def post(self, format: str, body: bytes) -> None:
        """Send until it is taken; work is done while the client waits."""
        client = TestClient(self.service._app, base_url=HERE)
        headers = {"content-encoding": "gzip"}
        while True:
            answer = client.post(f"/receive/{format}", content=gzip.compress(body, 1), headers=headers)
            if answer.status_code == 202:
                break
            assert answer.status_code == 429 and int(answer.headers["retry-after"]) > 0
            self.refused += 1
            self.work()
            self.checkpoint()
        self.deliveries[format, body] += 1

    def work(self) -> None:
        self.service.live.drain(T0_S * 1000)

    def checkpoint(self) -> None:
        self.service.live.checkpoint(T0_S * 1000)

    def crash(self) -> None:
        """End without a checkpoint: what is in memory is gone."""
        self.service.__exit__(None, None, None)
        self._service = None

    def accounts(self) -> dict[str, dict[str, int]]:
        self.work()
        told = TestClient(self.service._app, base_url=HERE).get("/sources").json()["sources"]
        return {one["name"]: one for one in told if one["received"]}


def check(story: Story) -> None:
    """Assert that every row of every delivery is where it belongs."""
    told = story.accounts()
    for format in {name for name, _ in story.deliveries}:
        sent = {body: times for (name, body), times in story.deliveries.items() if name == format}
        rows = {body: LINES if body.startswith(b"[") else 2 if body == BAD else 1 for body in sent}
        good = [body for body in sent if body not in (LATE, BAD)]
        wanted = {
            "received": sum(rows[body] * times for body, times in sent.items()),
            "accepted": sum(rows[body] for body in good),
            "duplicate": sum(rows[body] * (sent[body] - 1) for body in good),
            "late": rows.get(LATE, 0) * sent.get(LATE, 0),
            "dead_lettered": rows.get(BAD, 0) * sent.get(BAD, 0),
        }
        assert {name: told[format][name] for name in wanted} == wanted


STEPS = st.one_of(
    st.tuples(st.just("post"), st.integers(0, 5)),
    st.tuples(st.just("sample"), st.integers(0, 5)),
    st.sampled_from([("late", 0), ("bad", 0), ("work", 0), ("checkpoint", 0), ("crash", 0)]),
)


@settings(max_examples=12)
@given(script=st.lists(STEPS, max_size=14))
def test_whatever_happens_every_row_is_counted_once(
    tmp_path_factory: pytest.TempPathFactory, script: Sequence[tuple[str, int]]
) -> None:
    story = Story(tmp_path_factory.mktemp("story"))
    story.post("fluentbit", lines(99))  # from here on an hour ago is late
    for step, number in [*script, ("crash", 0), ("post", 0), ("post", 0)]:
        if step == "post":
            story.post("fluentbit", lines(number))
        elif step == "sample":
            story.post("prometheus-adapter", samples(number))
        elif step in ("late", "bad"):
            story.post("fluentbit", LATE if step == "late" else BAD)
        else:
            getattr(story, step)()
    check(story)
    story.crash()


def test_a_journal_that_is_full_holds_senders_up_and_loses_nothing(tmp_path: Path) -> None:
    story = Story(tmp_path, journal_mb=16)
    noise = random.Random(1)
    for number in range(24):
        story.post("fluentbit", lines(number, padding=noise.randbytes(60_000).hex()))
        if number % 7 == 3:
            story.post("fluentbit", lines(number - 1, padding=""))
    assert story.refused >= 1
    story.crash()
    check(story)
    story.crash()


@dataclass
class Killed:
    """`opsbrain up` as a process on a port of its own, killed and started again."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[str] | None = None

    def flags(self) -> list[str]:
        told = {
            "store.folder": self.folder / "store",
            "http.port": self.port,
            "receivers.grpc_port": 0,
            "pipeline.resolution_s": HOUR_S,
            "pipeline.idle_after_s": HOUR_S,
            "pipeline.future_s": 10**9,
            "store.checkpoint_s": 1,
        }
        return [part for name, value in told.items() for part in ("--set", f"{name}={value}")]

    def start(self) -> None:
        env = os.environ | {"PYTHONPATH": str(Path(opsbrain.__file__).parents[1])}
        command = [sys.executable, "-m", "opsbrain", "up", *self.flags()]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        assert self.process.stdout is not None
        assert "listens" in self.process.stdout.readline()

    def end(self, how: int) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.communicate(timeout=20)
        return self.process.returncode


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Killed]:
    server = Killed(tmp_path)
    try:
        yield server
    finally:
        if server.process is not None:
            server.process.kill()
            server.process.communicate()


def test_a_receiver_that_is_killed_has_what_it_answered_for_once(killed: Killed, tmp_path: Path) -> None:
    bodies = [lines(number) for number in range(150)]
    waiting = [*bodies, *bodies[::10]]  # every tenth once more, as if its answer had been lost
    attempts: Counter[str] = Counter()
    lock = threading.Lock()

    def client() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{killed.port}", trust_env=False, timeout=5) as http:
            while True:
                with lock:
                    if not waiting:
                        return
                    body = waiting.pop(0)
                while not sent(http, body):
                    attempts["failed"] += 1
                    time.sleep(0.05)

    def sent(http: httpx.Client, body: bytes) -> bool:
        try:
            return http.post("/fluentbit", content=body).status_code == 202
        except httpx.TransportError:
            return False

    killed.start()
    clients = [threading.Thread(target=client) for _ in range(4)]
    for one in clients:
        one.start()
    for left in (110, 50):
        while len(waiting) > left:
            time.sleep(0.002)
        killed.end(signal.SIGKILL)
        killed.start()
    for one in clients:
        one.join(timeout=60)
    assert killed.end(signal.SIGTERM) == 0
    assert main(["export", "--out", str(tmp_path / "out"), *killed.flags()]) == 0
    rows = read_export(tmp_path / "out").summary["rows"]
    assert rows["accepted"] == len(bodies) * LINES
    assert rows["duplicate"] >= len(bodies[::10]) * LINES
    assert rows["duplicate"] % LINES == 0, "a request is repeated whole or not at all"
    assert rows["sent"] == rows["accepted"] + rows["duplicate"]
    assert attempts["failed"] >= 1
