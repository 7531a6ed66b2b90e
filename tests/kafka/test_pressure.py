"""A worker that would pass its memory ceiling leaves telemetry in the broker, and nothing is lost by that."""

from __future__ import annotations

from tests.kafka.exports import bytes_of
from tests.kafka.recorded import Recorded
from tests.kafka.workers import Cluster, wait_until, working

TOO_LITTLE_MB = 256  # less than the program itself takes once it works
ENOUGH_MB = 1024


def test_at_its_ceiling_a_worker_leaves_telemetry_in_the_broker(recorded: Recorded) -> None:
    with working(recorded.cluster("pressed")) as cluster:
        limit(cluster, TOO_LITTLE_MB)
        cluster.start()
        wait_until(lambda: "reading pauses" in cluster.said(), timeout_s=60)
        assert cluster.said().count("reading pauses") == 1
        assert cluster.stop() == [0], cluster.said()
        limit(cluster, ENOUGH_MB)
        cluster.start()
        cluster.wait_until_done()
        assert cluster.stop() == [0, 0], cluster.said()
        assert bytes_of(cluster.export()) == bytes_of(recorded.undisturbed)


def limit(cluster: Cluster, megabytes: int) -> None:
    """Set the ceiling of workers that start from now on."""
    lines = [one for one in cluster.settings.read_text().splitlines() if not one.startswith("memory_limit_mb")]
    lines.insert(lines.index("[worker]") + 1, f"memory_limit_mb = {megabytes}")
    cluster.settings.write_text("\n".join(lines) + "\n")
