"""State that does not fit says what changed; new names of topics and groups read retained telemetry again."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.produce import Shipper
from tests.kafka.conftest import Broker
from tests.kafka.workers import Cluster, working

BODY = '{"@timestamp":%d,"log":"INFO served","kubernetes":{"pod_name":"store-0","namespace_name":"shop"}}'
BEGIN_S = 1_795_000_000


def cluster(broker: Broker, folder: Path, topic: str, name: str, more: str = "", resolution_s: int = 10) -> Cluster:
    unique = f"{name}-{time.time_ns()}"
    formats = {topic: "fluentbit"}
    return Cluster.over(
        broker.bootstrap, folder, unique, formats, scope="demo", resolution_s=resolution_s, partitions=2, more=more
    )


def change(cluster: Cluster, old: str, new: str) -> None:
    text = cluster.settings.read_text()
    assert re.search(old, text)
    cluster.settings.write_text(re.sub(old, new, text))


def worked(cluster: Cluster) -> dict[str, int]:
    """Let a worker do all that there is; return the rows that it accounts for."""
    cluster.start()
    cluster.wait_until_done()
    assert cluster.stop()[-1] == 0, cluster.said()
    return dict(json.loads((cluster.export() / "summary.json").read_text())["rows"])


def refused(cluster: Cluster) -> str:
    """Start a worker that must end by itself; return its last line."""
    worker = cluster.start()
    assert worker.wait(timeout=60) == 1, cluster.said()
    return (cluster.folder / f"worker-{len(cluster.running) - 1}.log").read_text().splitlines()[-1]


def test_an_upgrade_reads_retained_telemetry_again_under_new_names(broker: Broker, tmp_path: Path) -> None:
    shipper = Shipper(broker.bootstrap, 2, prefix=f"{time.time_ns()}.telemetry.")
    topic = shipper.topic("logs", "fluentbit")
    lines = [(BODY % (BEGIN_S + second)).encode() for second in range(200)]
    shipper.send(topic, lines[:100], ["one"] * 100)
    shipper.flush()
    time.sleep(1.1)
    between = datetime.now(tz=UTC).isoformat()
    time.sleep(1.1)
    shipper.send(topic, lines[100:], ["one"] * 100)
    shipper.end()
    with working(cluster(broker, tmp_path, topic, "first")) as first:
        assert worked(first)["sent"] == 200
        change(first, r"resolution_s = 10\b", "resolution_s = 20")
        line = refused(first)
        assert "pipeline.resolution_s was '10' and is '20'" in line and "kafka.group_prefix" in line
        change(first, r"resolution_s = 20\b", "resolution_s = 10")
        change(first, r'topic_prefix = "([^"]*)"', r'topic_prefix = "new-\1"')
        line = refused(first)  # half of what must be new: it would have gone on behind what it has read
        assert "kafka.topic_prefix was" in line and "kafka.group_prefix" in line
    with working(cluster(broker, tmp_path, topic, "second", resolution_s=20)) as second:
        assert worked(second)["sent"] == 200
    with working(cluster(broker, tmp_path, topic, "third", resolution_s=20)) as third:
        change(third, r"\[kafka\]\n", f'[kafka]\nstart_from = "{between}"\n')
        assert worked(third)["sent"] == 100
