"""Notifications of workers on a real broker: at once, and none lost with the worker that had it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.messages import FIXES, INCIDENTS, Message
from engine.notice import Notice
from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.sender import Sender
from engine.runners.kafka.topics import create_topics
from engine.types import Incident, Phase
from opsbrain.kafka_config import kafka_config
from opsbrain.notify.receiver import Receiver
from opsbrain.settings import Settings
from opsbrain.settings_load import load_settings
from tests.conftest import ROOT
from tests.kafka.conftest import Broker
from tests.kafka.workers import SESSION_S, wait_until
from tests.opsbrain.samples import fix, incident

ROLE = """
import signal, sys, threading
from pathlib import Path
from opsbrain.kafka_config import kafka_config
from opsbrain.kafka_notify import NotifyRole
from opsbrain.settings_load import load_settings

stopped = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopped.set())
settings = load_settings(Path(sys.argv[1]), {}, [f"store.folder='{sys.argv[2]}'"])
NotifyRole(settings, kafka_config(settings)).run(stopped.is_set)
"""


class Teller:
    """Our topics, what is said on them, and processes that tell people: each with a disk of its own."""

    def __init__(self, broker: Broker, folder: Path, **receivers: Receiver) -> None:
        name = f"told-{time.time_ns()}"
        hooks = "".join(f'[[notify.webhooks]]\nname = "{n}"\nurl = "{one.url}"\n' for n, one in receivers.items())
        text = (
            f'{hooks}[kafka]\nbootstrap = "{broker.bootstrap}"\ngroup_prefix = "{name}"\ntopic_prefix = "{name}."\n'
            f"partitions = 4\nsession_timeout_s = {SESSION_S}\n"
        )
        self.folder = folder
        self.path = folder / "opsbrain.toml"
        self.path.write_text(text)
        self.settings: Settings = load_settings(self.path, {})
        self.config: KafkaConfig = kafka_config(self.settings)
        create_topics(self.config)
        self.sender = Sender(self.config)
        self.running: list[subprocess.Popen[bytes]] = []

    def say(self, *revisions: Incident, scope: str = "demo") -> None:
        """Say revisions and a fix of each as the scope step does; they are in the broker when this returns."""
        for one in revisions:
            notice = Notice((fix(incident_id=one.id),))
            self.sender.send(Message(INCIDENTS, f"{one.id}/{one.revision}", one, scope, notice))
            self.sender.send(Message(FIXES, f"{one.id}/{one.revision}", notice.fixes[0], scope))
        self.sender.flush()

    def start(self) -> subprocess.Popen[bytes]:
        """Start one more process."""
        store = self.folder / f"disk-{len(self.running)}"
        self.running.append(subprocess.Popen([sys.executable, "-c", ROLE, str(self.path), str(store)], cwd=ROOT))
        return self.running[-1]

    def committed(self) -> int:
        """Return how many messages of incidents the group has behind it."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(self.config.client(group_id=self.config.group("notify")))
        topic = self.config.topic(INCIDENTS)
        try:
            found = consumer.committed([TopicPartition(topic, n) for n in range(4)], timeout=10)
        finally:
            consumer.close()
        return sum(max(one.offset, 0) for one in found)


@contextmanager
def telling(broker: Broker, folder: Path, **receivers: Receiver) -> Iterator[Teller]:
    teller = Teller(broker, folder, **receivers)
    try:
        yield teller
    finally:
        for one in teller.running:
            if one.poll() is None:
                one.kill()
                one.wait()


def keys(receiver: Receiver) -> list[str]:
    return [one.headers["idempotency-key"] for one in receiver.received]


def of(number: int, revision: int = 1, phase: Phase = Phase.OPEN) -> Incident:
    return incident(revision, phase, id=f"inc-{number:03d}")


def same_bodies(*receivers: Receiver) -> bool:
    bodies: dict[str, set[bytes]] = {}
    for receiver in receivers:
        for one in receiver.received:
            bodies.setdefault(one.headers["idempotency-key"], set()).add(one.body)
    return all(len(one) == 1 for one in bodies.values())


def test_what_a_killed_worker_owed_is_told_by_another_that_has_nothing_of_its_disk(
    broker: Broker, tmp_path: Path
) -> None:
    deaf = [(503, {"retry-after": "3600"})] * 3
    with Receiver(answers=deaf) as slow, Receiver() as fast, telling(broker, tmp_path, slow=slow, fast=fast) as teller:
        first = teller.start()
        teller.say(of(1), of(2))
        wait_until(lambda: len(fast.received) == 2 and len(slow.received) >= 1)
        wait_until(lambda: teller.committed() == 0)
        threading.Event().wait(1.0)  # long enough for its offsets to be committed, had it any
        first.kill()
        first.wait()
        slow._answers.clear()
        teller.start()
        teller.say(of(3))
        wait_until(lambda: len(set(keys(slow))) == 3 and len(fast.received) == 3, 40)
        wait_until(lambda: teller.committed() == 3)
        assert teller.running[1].poll() is None
        teller.running[1].send_signal(signal.SIGTERM)
        assert teller.running[1].wait(10) == 0
    assert same_bodies(slow, fast)
    assert len(keys(fast)) == 3, "it had heard"


def test_workers_that_come_and_go_tell_each_revision_with_one_body(broker: Broker, tmp_path: Path) -> None:
    with Receiver() as receiver, telling(broker, tmp_path, only=receiver) as teller:
        teller.start()
        for number in range(12):
            teller.say(of(number), of(number, 2), of(number, 3, Phase.RESOLVED), scope=f"scope-{number}")
            if number == 3:
                teller.start()
            if number == 7:
                teller.running[0].kill()
                teller.running[0].wait()
            wait_until(lambda wanted=number + 1: len(set(keys(receiver))) >= (wanted if wanted < 7 else 3), 40)
        wait_until(lambda: len(set(keys(receiver))) == 36, 40)
        wait_until(lambda: teller.committed() == 36)
    assert same_bodies(receiver)


def test_people_are_told_within_moments(broker: Broker, tmp_path: Path) -> None:
    with Receiver() as receiver, telling(broker, tmp_path, only=receiver) as teller:
        teller.start()
        teller.say(of(0))
        wait_until(lambda: len(receiver.received) == 1, 40)
        took_s: list[float] = []
        for number in range(1, 31):
            said_s = time.monotonic()
            teller.say(of(number))
            while len(receiver.received) <= number:
                assert time.monotonic() - said_s < 10
                threading.Event().wait(0.001)
            took_s.append(time.monotonic() - said_s)
    took_s.sort()
    print(f"p50 {took_s[15] * 1000:.0f} ms, max {took_s[-1] * 1000:.0f} ms")
    assert took_s[15] < 0.5
