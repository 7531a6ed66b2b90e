"""Workers outlast their broker: they wait, say so once, go on by themselves and conclude the same, to the byte."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from tests.kafka.exports import bytes_of
from tests.kafka.recorded import Recorded
from tests.kafka.workers import Cluster, wait_until, working

AWAY_S = float(os.environ.get("OPSBRAIN_TEST_AWAY_S", "12"))  # longer than a session; in earnest, five minutes
END_S = 10.0


def test_a_broker_that_is_away_ends_nothing_and_changes_nothing(recorded: Recorded) -> None:
    with working(recorded.cluster("away")) as cluster:
        cluster.start()
        cluster.start()
        cluster.wait_until_read(0.3, recorded.total)
        with recorded.broker.away():
            time.sleep(AWAY_S)
            assert [one.poll() for one in cluster.running] == [None, None], cluster.said()
        cluster.wait_until_done()
        assert cluster.stop() == [0, 0], cluster.said()
        assert bytes_of(cluster.export()) == bytes_of(recorded.undisturbed)
        assert_said_once(cluster, 2)


def test_asked_to_stop_while_the_broker_is_away_a_worker_ends_in_time(recorded: Recorded) -> None:
    with working(recorded.cluster("stop")) as cluster:
        at_once, later = cluster.start(), cluster.start()
        cluster.wait_until_read(0.3, recorded.total)
        with recorded.broker.away():
            assert ends_in_s(at_once) < END_S, cluster.said()
            wait_until(lambda: "no broker answers" in cluster.said())
            assert ends_in_s(later) < END_S, cluster.said()
        cluster.start()
        cluster.wait_until_done()
        assert cluster.stop() == [0, 0, 0], cluster.said()
        assert bytes_of(cluster.export()) == bytes_of(recorded.undisturbed)


def test_a_worker_that_freezes_for_longer_than_its_session_goes_on(recorded: Recorded) -> None:
    with working(recorded.cluster("frozen")) as cluster:
        frozen, other = cluster.start(), cluster.start()
        cluster.wait_until_read(0.2, recorded.total)
        freeze(frozen, 12)
        cluster.wait_until_read(0.5, recorded.total)
        freeze(other, 12)
        cluster.wait_until_done()
        assert cluster.stop() == [0, 0], cluster.said()
        assert bytes_of(cluster.export()) == bytes_of(recorded.undisturbed)


def assert_said_once(cluster: Cluster, workers: int) -> None:
    for line in ("no broker answers", "answers again"):
        assert cluster.said().count(line) == workers, cluster.said()
    assert "Traceback" not in cluster.said()


def freeze(worker: subprocess.Popen[bytes], seconds: float) -> None:
    worker.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    worker.send_signal(signal.SIGCONT)


def ends_in_s(worker: subprocess.Popen[bytes]) -> float:
    """Ask a worker to stop; return how long it took, with status 0."""
    began_s = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=30) == 0
    return time.monotonic() - began_s


def test_from_one_worker_to_three_and_back_nothing_changes(recorded: Recorded) -> None:
    with working(recorded.cluster("rebalanced")) as cluster:
        stays = cluster.start()
        cluster.wait_until_read(0.2, recorded.total)
        guests = [cluster.start(), cluster.start()]
        cluster.wait_until_read(0.6, recorded.total)
        for one in guests:
            assert ends_in_s(one) < END_S, cluster.said()
        cluster.wait_until_done()
        assert ends_in_s(stays) < END_S, cluster.said()
        assert bytes_of(cluster.export()) == bytes_of(recorded.undisturbed)
