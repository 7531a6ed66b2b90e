"""`opsbrain bench latency`: from the broker having all that a window's end waits for, to the delivered webhook.

At half the load that one worker was measured to take on this machine in the same run (or $OPSBRAIN_BENCH_LOAD samples/s
as the maximum), with windows of 2 s, so that minutes give hundreds of notifications. Faults are injected all the time.
The load is sent open-loop; afterwards every sample must have been taken in and every incident's every revision heard.

$OPSBRAIN_BENCH_SECONDS (300) says how long; $OPSBRAIN_BENCH_RESOLUTION_S (2) how long windows are.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.asked import whole
from benchmarks.broker import Broker, broker, create_topic, delete_topics
from benchmarks.fill import Filler, fill_slices
from benchmarks.live import LATENESS_S, Rig, latencies_ms, rig
from benchmarks.live_generator import Plan, Sent
from benchmarks.live_receiver import Heard, receiver
from benchmarks.load import Fleet
from benchmarks.throughput_worker import Job, work

PARTITIONS: Final = 4
KINDS: Final = ("opened", "updated", "resolved")
_START_S: Final = 8  # a worker is up and has its partitions by then
_CALM_WINDOWS: Final = 30  # detectors want to have seen some before anything breaks
_HEARD_S: Final = 60.0


def run(data: Path | None = None) -> dict[str, Any]:
    """Return p50 and p99 of the latency, and what was lost; `data` is not used. Raises SourceError without a broker."""
    resolution_s, seconds = whole("OPSBRAIN_BENCH_RESOLUTION_S", 2, 1), whole("OPSBRAIN_BENCH_SECONDS", 300, 1)
    with broker() as running, tempfile.TemporaryDirectory(prefix="opsbrain-bench-") as folder, receiver() as kept:
        series = whole("OPSBRAIN_BENCH_SERIES", 100_000, 1)
        most = whole("OPSBRAIN_BENCH_LOAD", 0) or measured_load(running, Path(folder), series)
        plan = live_plan(running, most // 2, seconds, resolution_s, fault_every_s=resolution_s)
        with rig(Path(folder), running, kept, plan, live_settings(resolution_s)) as made:
            sent = made.wait_sent()
            made.wait_decided()
            wanted = _told(made.export())
            _wait_heard(kept.heard, wanted)
            delivered = made.delivered()
            losses = _losses(made, sent, wanted, kept.heard)
    found = latencies_ms(kept.heard, delivered, PARTITIONS)
    load = {"max_samples_per_s": most, "samples_per_s": round(sent.samples / sent.seconds), "behind_s": sent.behind_s}
    return {
        "name": "latency",
        "version": version("opsbrain"),
        "data": {
            "resolution_s": resolution_s,
            "lateness_s": LATENESS_S,
            "seconds": sent.seconds,
            "series": plan.series,
        },
        "metrics": metrics_of(found) | losses | {key: round(one, 3) for key, one in load.items()},
        "cases": [
            {"case": kind, **metrics_of(latencies_ms(_of_kind(kept.heard, kind), delivered, PARTITIONS))}
            for kind in KINDS
        ],
    }


def measured_load(running: Broker, folder: Path, series: int) -> int:
    """Return the samples a second of wall-clock that one worker takes in from a topic that was filled before."""
    name = f"{running.run}-load"
    create_topic(running.bootstrap, f"{name}.input", PARTITIONS)
    filler, fleet = Filler(running.bootstrap, f"{name}.input", PARTITIONS), Fleet(series, PARTITIONS)
    for scrape in range(whole("OPSBRAIN_BENCH_LOAD_WINDOWS", 8, 1) * 4):
        fill_slices(filler, fleet.adapter_json(scrape))
        if scrape == 3:
            filler.warm()
    done = work(folder, running, Job(name, filler.end(), "prometheus-adapter"))
    delete_topics(running.bootstrap, name)
    return int(done.items / done.wall_s)


def live_plan(running: Broker, samples_per_s: int, seconds: int, resolution_s: int, *, fault_every_s: int) -> Plan:
    """Return a plan that sends so much, every series once a second, with a fault every so often."""
    return Plan(
        bootstrap=running.bootstrap,
        topic=f"{running.run}-live.input",
        partitions=PARTITIONS,
        series=max(samples_per_s, 1_000),
        seconds=seconds,
        begin_s=int(time.time()) + _START_S,
        calm_s=_CALM_WINDOWS * resolution_s,
        fault_every_s=fault_every_s,
        fault_s=4 * resolution_s,
    )


def live_settings(resolution_s: int) -> str:
    """Return the settings that differ from those shipped: short windows, and a budget that lets incidents open."""
    return f"[pipeline]\nresolution_s = {resolution_s}\nalarm_budget_per_day = 10000\n"


def metrics_of(found: Sequence[float]) -> dict[str, Any]:
    """Return the percentiles of latencies in ms, NaN where there are none."""
    if not found:
        return {"p50_ms": float("nan"), "p99_ms": float("nan"), "notifications": 0}
    p50, p99, most = np.percentile(np.array(found), (50, 99, 100)).tolist()
    return {"p50_ms": round(p50, 1), "p99_ms": round(p99, 1), "max_ms": round(most, 1), "notifications": len(found)}


def _of_kind(heard: Sequence[Heard], kind: str) -> list[Heard]:
    return [one for one in heard if one.type == kind]


def _told(export: Path) -> set[str]:
    """Return the ids of all events that should have been told: every revision of every incident."""
    lines = (export / "incidents.jsonl").read_bytes().splitlines()
    return {f"{one['id']}.{one['revision']}" for one in map(json.loads, lines)}


def _wait_heard(heard: Sequence[Heard], wanted: set[str]) -> None:
    deadline = time.monotonic() + _HEARD_S
    while wanted - {one.id for one in heard} and time.monotonic() < deadline:
        time.sleep(0.2)


def _losses(made: Rig, sent: Sent, wanted: set[str], heard: Sequence[Heard]) -> dict[str, Any]:
    rows = json.loads((made.folder / "export" / "summary.json").read_bytes())["rows"]
    ids = [one.id for one in heard]
    return {
        "lost_samples": sent.samples - rows["accepted"],
        "late_samples": rows["late"],
        "lost_notifications": len(wanted - set(ids)),
        "repeated_notifications": len(ids) - len(set(ids)),
    }
