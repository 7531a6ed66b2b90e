"""Workers on a real broker conclude what the embedded replay concludes, whatever happens to them."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks.produce import Sent, Shipper, produce_recording
from engine.errors import Retryable
from engine.messages import CONTEXT
from engine.runners.kafka.codec import decode
from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.reader import TopicReader
from engine.runners.kafka.topics import reach
from engine.types import Mark
from opsbrain.export import read_export
from opsbrain.kafka_config import kafka_config
from opsbrain.notify.receiver import Receiver
from opsbrain.settings_load import load_settings
from tests.kafka.conftest import Broker, free_ports
from tests.kafka.exports import bytes_of, differences
from tests.kafka.recorded import RECORDING, Recorded, cluster
from tests.kafka.workers import opsbrain, wait_until, working

SECRET = "whsec_" + "b25seS1mb3ItdGVzdHMtbm90LWEtc2VjcmV0LS0="
MALFORMED = (b"", b"{", b"\xff\xfe", b"[1]", b'{"log":1}', b"null", b'{"@timestamp":"never","log":"x"}')
LATE = b'{"@timestamp":1795220000.0,"log":"INFO long ago","kubernetes":{"pod_name":"store-0","namespace_name":"shop"}}'


def test_workers_conclude_what_the_embedded_replay_concludes(recorded: Recorded, tmp_path: Path) -> None:
    flags = ("--set", "pipeline.fit_every_s=120", "--set", "pipeline.fit_delay_s=60")
    replayed = opsbrain("replay", str(RECORDING), "--format", "opsbrain", "--out", str(tmp_path), *flags)
    assert replayed.returncode == 0, replayed.stderr
    assert differences(recorded.undisturbed, tmp_path) == []
    summaries = [json.loads((one / "summary.json").read_text()) for one in (recorded.undisturbed, tmp_path)]
    assert summaries[0]["counts"] == summaries[1]["counts"]
    assert summaries[0]["rows"] == summaries[1]["rows"]
    assert summaries[0]["rows"]["sent"] == recorded.total
    assert summaries[0]["counts"]["incidents"] >= 1


def test_a_killed_worker_that_comes_back_says_the_same_to_the_byte(recorded: Recorded) -> None:
    with Receiver([SECRET]) as receiver:
        webhook = f'[[notify.webhooks]]\nname = "test"\nurl = "{receiver.url}"\nsecrets = ["{SECRET}"]\n'
        with working(recorded.cluster("killed", webhook)) as cluster:
            for share in (0.2, 0.6):
                worker = cluster.start()
                cluster.wait_until_read(share, recorded.total)
                cluster.kill(worker)
            cluster.start()
            cluster.wait_until_done()
            incidents = read_export(recorded.undisturbed).incidents
            wait_until(lambda: len({one.headers["webhook-id"] for one in receiver.received}) >= len(incidents))
            assert cluster.stop()[-1] == 0, cluster.said()
            assert bytes_of(cluster.export()) == bytes_of(recorded.undisturbed)
    told = {one.headers["webhook-id"] for one in receiver.received}
    assert len(told) == len(incidents)
    assert all(one.signature.ok for one in receiver.received)


def test_two_workers_of_which_one_dies_say_the_same_to_the_byte(recorded: Recorded) -> None:
    with working(recorded.cluster("two")) as cluster:
        worker = cluster.start()
        cluster.start()
        cluster.wait_until_read(0.3, recorded.total)
        cluster.start()
        cluster.kill(worker)
        cluster.wait_until_done()
        assert cluster.stop()[1:] == [0, 0], cluster.said()
        assert bytes_of(cluster.export()) == bytes_of(recorded.undisturbed)


def test_what_cannot_be_read_becomes_dead_letters_and_every_row_is_accounted_for(
    broker: Broker, tmp_path: Path
) -> None:
    shipper = Shipper(broker.bootstrap, 2, prefix=f"{time.time_ns()}.telemetry.")
    malformed = [MALFORMED[number % len(MALFORMED)] for number in range(1_000)]
    logs = shipper.topic("logs", "fluentbit")
    shipper.send(logs, malformed[:500], [None] * 500)
    shipper.send(logs, [LATE], ["late"])  # before everything else of its partition: this one is in time
    produce_recording(RECORDING, shipper, by_entity=False, lines=slice(2_000))
    shipper.send(logs, malformed[500:] + [LATE] * 10, [None] * 500 + ["late"] * 10)
    sent = shipper.end()
    with working(cluster(broker, tmp_path, "malformed", sent)) as workers:
        killed = workers.start()
        workers.wait_until_read(0.5, sum(sent.messages.values()))
        workers.kill(killed)
        workers.start()
        workers.wait_until_done()
        assert workers.stop()[-1] == 0, workers.said()
        summary = json.loads((workers.export() / "summary.json").read_text())
    rows = summary["rows"]
    assert rows["dead_lettered"] == summary["counts"]["deadletters"] == 1_000
    assert rows["late"] == 10
    assert rows["sent"] == sum(sent.messages.values())
    assert rows["sent"] == sum(rows[one] for one in ("accepted", "late", "duplicate", "dead_lettered"))


def test_without_a_broker_a_worker_waits_and_says_so_once(tmp_path: Path) -> None:
    nowhere = Broker(f"127.0.0.1:{free_ports()[0]}", None)
    sent = Sent({}, {"telemetry.logs": "fluentbit"})
    with working(cluster(nowhere, tmp_path, "nowhere", sent)) as workers:
        worker = workers.start()
        wait_until(lambda: "no broker answers" in workers.said())
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(timeout=3)  # and asks again, silently
        assert workers.stop() == [0]
        (line,) = workers.said().splitlines()
        assert "no broker answers" in line and "kafka.bootstrap" in line
        done = opsbrain("export", "--config", str(workers.settings), "--out", str(tmp_path / "out"))
        assert done.returncode == 1
        assert "no broker answers" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_worker_without_a_setting_says_which(tmp_path: Path) -> None:
    done = opsbrain("worker")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "kafka.bootstrap is empty" in done.stderr


def test_export_where_no_worker_ran_says_so(broker: Broker, tmp_path: Path) -> None:
    flags = ["--set", f"kafka.bootstrap={broker.bootstrap}", "--set", f"kafka.topic_prefix={time.time_ns()}."]
    done = opsbrain("export", *flags, "--out", str(tmp_path / "out"))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "opsbrain worker" in done.stderr


def test_a_partition_that_stays_silent_does_not_hold_windows_open(broker: Broker, tmp_path: Path) -> None:
    shipper = Shipper(broker.bootstrap, 3, prefix=f"{time.time_ns()}.telemetry.")
    topic = shipper.topic("logs", "fluentbit")
    body = '{"@timestamp":%d,"log":"INFO served","kubernetes":{"pod_name":"store-0","namespace_name":"shop"}}'
    begin_s = 4_000_000_000  # recorded data may lie in the future of the machine that sends it
    lines = [(body % (begin_s + second)).encode() for second in range(100)]
    shipper.send(topic, lines, ["one"] * len(lines))
    shipper.flush()  # and no end: live data
    with working(cluster(broker, tmp_path, "silent", Sent({}, {topic: "fluentbit"}), idle_after_s=1)) as workers:
        workers.start()
        config = kafka_config(load_settings(workers.settings, {}))
        wait_until(lambda: windows_out(config) >= {(begin_s + n * 10) * 1000 for n in range(8)})
        assert workers.stop() == [0]


def windows_out(config: KafkaConfig) -> set[int]:
    """Return the starts of the windows that the detect step has closed."""
    topic = config.topic(CONTEXT)
    try:
        if topic not in reach(config):
            return set()
        reader = TopicReader(config, "silent-test")
        messages = list(reader.whole([(topic, number) for number in range(config.partitions)]))
    except Retryable:
        return set()
    found = [decode(CONTEXT, one.key(), one.value(), dict(one.headers())).payload for one in messages]
    return {start for one in found if isinstance(one, Mark) for start in one.windows}
