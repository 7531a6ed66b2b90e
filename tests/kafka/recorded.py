"""A recording on a broker, and what one undisturbed worker makes of it: what all that is done to others is held to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.produce import Sent, Shipper, produce_recording
from tests.conftest import ROOT
from tests.kafka.conftest import Broker
from tests.kafka.workers import Cluster, working

RECORDING = ROOT / "opsbrain" / "recordings" / "checkout-lock"


@dataclass
class Recorded:
    """The recording on two partitions a topic, and what one undisturbed worker made of it."""

    broker: Broker
    sent: Sent
    total: int
    folder: Path
    undisturbed: Path

    def cluster(self, name: str, more: str = "") -> Cluster:
        return cluster(self.broker, self.folder, name, self.sent, more)


def cluster(broker: Broker, folder: Path, name: str, sent: Sent, more: str = "", idle_after_s: int = 60) -> Cluster:
    unique = f"{name}-{time.time_ns()}"  # a broker that stays may hold what an earlier run left
    return Cluster.over(
        broker.bootstrap,
        folder,
        unique,
        sent.formats,
        scope="demo",
        resolution_s=10,
        idle_after_s=idle_after_s,
        more=more,
    )


@contextmanager
def recorded_on(broker: Broker, folder: Path) -> Iterator[Recorded]:
    """Send the recording and let one worker work on it."""
    shipper = Shipper(broker.bootstrap, 2, prefix=f"{time.time_ns()}.telemetry.")
    produce_recording(RECORDING, shipper, by_entity=False)
    sent = shipper.end()
    total = sum(sent.messages.values())
    with working(cluster(broker, folder, "undisturbed", sent)) as undisturbed:
        undisturbed.start()
        undisturbed.wait_until_done()
        assert undisturbed.stop() == [0], undisturbed.said()
        yield Recorded(broker, sent, total, folder, undisturbed.export())
