"""Minutes of the Nezha data set, sent as shippers would have, against the embedded replay of the same minutes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks.produce import Minutes, Shipper, minutes_of, produce_rows
from ingest.registry import source
from opsbrain.replaying import run_replay
from opsbrain.settings_load import load_settings
from tests.conftest import dataset
from tests.kafka.conftest import Broker
from tests.kafka.exports import bytes_of, differences
from tests.kafka.workers import Cluster, working

DAY, MINUTES = "2023-01-29", "08:41-09:30"


@pytest.mark.timeout(400)
def test_fault_minutes_through_workers_equal_their_embedded_replay(broker: Broker, tmp_path: Path) -> None:
    recorded = Minutes(source("nezha", dataset("nezha"), DAY), *minutes_of(MINUTES))
    name = f"nezha-{time.time_ns()}"
    shipper = Shipper(broker.bootstrap, 2, prefix=f"{name}.telemetry.")
    produce_rows(recorded, shipper, by_entity=True)
    sent = shipper.end()
    total = sum(sent.messages.values())

    def cluster(suffix: str) -> Cluster:
        return Cluster.over(
            broker.bootstrap,
            tmp_path,
            f"{name}-{suffix}",
            sent.formats,
            scope="nezha",
            resolution_s=60,
            fit_every_s=600,
        )

    with working(cluster("one")) as one:
        one.start()
        one.wait_until_done()
        assert one.stop() == [0], one.said()
        undisturbed = one.export()

    replayed = run_replay(load_settings(one.settings, {}), recorded)
    replayed.export(tmp_path / "replayed")
    assert replayed.incidents, "minutes without an incident would show nothing"
    assert replayed.accounts.sent == total
    assert differences(undisturbed, tmp_path / "replayed") == []

    with working(cluster("two")) as two:
        killed = two.start()
        two.start()
        two.wait_until_read(0.4, total)
        two.kill(killed)
        two.start()
        two.wait_until_done()
        assert two.stop()[1:] == [0, 0], two.said()
        assert bytes_of(two.export()) == bytes_of(undisturbed)
