"""Records an incident in real time: `python -m benchmarks.testbed.record --out DIR [--minutes 12] [--seed 7]`."""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.testbed.catalogue import NAMESPACE
from benchmarks.testbed.clock import now_ns
from benchmarks.testbed.cluster import Cluster
from benchmarks.testbed.load import Load
from benchmarks.testbed.manifests import PROBE_PERIOD_S
from benchmarks.testbed.recorder import Recorder
from benchmarks.testbed.scrape import Scraper
from benchmarks.testbed.timeline import Deployment, Timeline, checkout_lock

SCOPE = "demo"
RESOLUTION_MS = 10_000
_SCRAPE_PERIOD_S = 5.0
_CHECKOUT_RATE_PER_S = 16.0


def main() -> None:
    """Parse the arguments and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, type=Path, help="folder to write the recording into")
    parser.add_argument("--minutes", type=float, default=12.0, help="how long to record (default 12)")
    parser.add_argument("--rate", type=float, default=_CHECKOUT_RATE_PER_S, help="requests a second (default 16)")
    parser.add_argument("--seed", type=int, default=7, help="seed of names, ids and arrivals (default 7)")
    args = parser.parse_args()
    counts = record(args.out, checkout_lock(args.minutes * 60), args.rate, args.seed)
    sys.stderr.write("".join(f"{name}: {count} messages\n" for name, count in counts.items()))


def record(out: Path, timeline: Timeline, rate_per_s: float, seed: int) -> dict[str, int]:
    """Run the shop through a timeline, write the recording and its truth, and return the messages by input."""
    with tempfile.TemporaryDirectory(prefix="testbed-") as work:
        return _record(Path(work), out, timeline, rate_per_s, seed)


def _record(work: Path, out: Path, timeline: Timeline, rate_per_s: float, seed: int) -> dict[str, int]:
    recorder = Recorder()
    cluster = Cluster(work, recorder, seed, SCOPE)
    load = Load(work / "endpoints.json", rate_per_s, seed)
    scraper = Scraper(cluster, recorder)
    done = threading.Event()
    try:
        cluster.start()
        began = time.monotonic()
        load.start()
        _every(_SCRAPE_PERIOD_S, scraper.scrape, done)
        _every(PROBE_PERIOD_S, cluster.probe, done)
        harmless_ns = _deploy(cluster, timeline.harmless, began)
        fault_ns = _deploy(cluster, timeline.fault, began)
        time.sleep(timeline.end_s - timeline.fault.at_s)  # Counted from when the fault serves, however slow it started.
        end_ns = now_ns()
    finally:
        done.set()
        load.stop()
        cluster.stop()
    recorder.add_spans(cluster.spans)
    counts = recorder.write(out, SCOPE, RESOLUTION_MS, end_ns)
    _write_truth(out / "truth.json", timeline, harmless_ns, fault_ns)
    return counts


def _deploy(cluster: Cluster, deployment: Deployment, began: float) -> int:
    """Wait for the moment, deploy, and return when it began."""
    _sleep_until(began + deployment.at_s)
    at_ns = now_ns()
    cluster.roll(deployment.service, deployment.version)
    return at_ns


def _every(period_s: float, step: Callable[[], None], done: threading.Event) -> None:
    """Run a step at a steady beat in a thread of its own, until done."""

    def loop() -> None:
        due = time.monotonic()
        while not done.is_set():
            step()
            due += period_s
            done.wait(max(0.0, due - time.monotonic()))

    threading.Thread(target=loop, daemon=True).start()


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _write_truth(path: Path, timeline: Timeline, harmless_ns: int, fault_ns: int) -> None:
    """Write what really happened, for scores only: no loader lists this file."""
    truth = {
        "format": "opsbrain-truth",
        "version": 1,
        "faults": [
            {
                "at_ms": fault_ns // 1_000_000,
                "entity": f"{SCOPE}/service/{NAMESPACE}/{timeline.fault.service}",
                "kind": "bad deployment",
                "version": timeline.fault.version,
                "expected_fix": "rollback",
            }
        ],
        "harmless": [
            {
                "at_ms": harmless_ns // 1_000_000,
                "entity": f"{SCOPE}/service/{NAMESPACE}/{timeline.harmless.service}",
                "kind": "deployment",
                "version": timeline.harmless.version,
            }
        ],
    }
    path.write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
