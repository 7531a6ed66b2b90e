"""`opsbrain bench soak`: an hour or more at half load. Does anything grow: memory, latency, a topic, a file?

The rig of `bench latency`, with a telemetry topic that keeps a bounded number of bytes, as operators have it. Every ten
seconds memory, and the bytes of every topic and of every file that the worker writes, are noted. Drift is how much a
straight line through them (least squares) rises, over the second half and over all, as a share of the mean; that of
latency is through the medians of each minute.

$OPSBRAIN_BENCH_HOURS (1.0), $OPSBRAIN_BENCH_LOAD (maximum samples/s, measured if not given),
$OPSBRAIN_BENCH_SAMPLE_S (10).
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.asked import number, whole
from benchmarks.broker import broker
from benchmarks.latency import PARTITIONS, live_plan, live_settings, measured_load, metrics_of
from benchmarks.live import LATENESS_S, Rig, latencies_ms, rig
from benchmarks.live_receiver import Heard, receiver
from benchmarks.processes import cpu_s, rss_mb
from engine.errors import SourceError

RESOLUTION_S: Final = 2
FAULT_EVERY_S: Final = 20
RETENTION: Final = {"retention.bytes": "268435456", "segment.bytes": "33554432"}
"""Of the telemetry topic, by partition: half a gigabyte to a gigabyte in all, so that an hour reaches the bound."""

_GOING: Final = ("-delete", "-stray")  # how the broker names folders that it is about to delete


@dataclass(slots=True)
class Watched:
    """What was noted, one of each a sample."""

    at_s: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    topics: list[dict[str, int]] = field(default_factory=list)  # bytes by topic
    files: list[dict[str, int]] = field(default_factory=list)  # bytes by file


def run(data: Path | None = None) -> dict[str, Any]:
    """Return the drift of everything that was watched; `data` is not used. Raises SourceError without a broker."""
    hours, every_s = number("OPSBRAIN_BENCH_HOURS", 1.0, 0.01), number("OPSBRAIN_BENCH_SAMPLE_S", 10.0, 0.1)
    with broker() as running, tempfile.TemporaryDirectory(prefix="opsbrain-bench-") as folder, receiver() as kept:
        most = whole("OPSBRAIN_BENCH_LOAD", 0) or measured_load(
            running, Path(folder), whole("OPSBRAIN_BENCH_SERIES", 100_000, 1)
        )
        plan = live_plan(running, most // 2, round(hours * 3_600), RESOLUTION_S, fault_every_s=FAULT_EVERY_S)
        with rig(Path(folder), running, kept, plan, live_settings(RESOLUTION_S), RETENTION) as made:
            watched = watch(made, every_s)
            sent = made.wait_sent()
            made.wait_decided()
            delivered = made.delivered()
            rows = json.loads((made.export() / "summary.json").read_bytes())["rows"]
            limits = bounds(running.bootstrap, watched.topics)
    metrics = {
        "hours": round(sent.seconds / 3_600, 3),
        "samples_per_s": round(sent.samples / max(sent.seconds, 1)),
        "lost_samples": sent.samples - rows["accepted"],
        "late_samples": rows["late"],
        "generator_behind_s": round(sent.behind_s, 3),
    }
    return {
        "name": "soak",
        "version": version("opsbrain"),
        "data": {"resolution_s": RESOLUTION_S, "lateness_s": LATENESS_S, "series": plan.series, "max": most},
        "metrics": metrics
        | _of_worker(watched)
        | _of_latency(kept.heard, delivered, (plan.begin_s + plan.calm_s) * 1_000),
        "cases": [
            {"case": "topics", **growth(watched.at_s, watched.topics, limits)},
            {"case": "files", **growth(watched.at_s, watched.files, {})},
            {"case": "memory", "rss_mb": [round(one, 1) for one in watched.rss_mb]},
        ],
    }


def _of_worker(watched: Watched) -> dict[str, Any]:
    if not watched.at_s:
        raise SourceError("bench soak: it was over before anything could be noted; ask for more OPSBRAIN_BENCH_HOURS")
    took_s = watched.at_s[-1] - watched.at_s[0]
    return {
        "rss_mb_end": round(watched.rss_mb[-1], 1),
        "rss_drift": drift(watched.at_s, watched.rss_mb),
        "rss_drift_second_half": drift(*second_half(watched.at_s, watched.rss_mb)),
        "cores": round((watched.cpu_s[-1] - watched.cpu_s[0]) / took_s, 3) if took_s else float("nan"),
    }


def _of_latency(heard: Sequence[Heard], delivered: Mapping[tuple[int, int], float], begin_ms: int) -> dict[str, Any]:
    medians = latency_medians(heard, delivered, begin_ms)
    at_s, values = [one for one, _ in medians], [one for _, one in medians]
    return metrics_of(latencies_ms(heard, delivered, PARTITIONS, begin_ms)) | {
        "latency_drift": drift(at_s, values),
        "latency_drift_second_half": drift(*second_half(at_s, values)),
    }


def watch(made: Rig, every_s: float) -> Watched:
    """Return what was noted from the end of the calm time, when all is known and running, until the generator ended."""
    watched, began_s = Watched(), time.monotonic()
    while made.generator.poll() is None:
        made.check()
        if time.time() < made.plan.begin_s + made.plan.calm_s:
            time.sleep(1.0)
            continue
        watched.at_s.append(time.monotonic() - began_s)
        watched.rss_mb.append(rss_mb([made.worker.pid]))
        watched.cpu_s.append(cpu_s([made.worker.pid]))
        watched.topics.append(topic_bytes(made.broker.data))
        watched.files.append(file_bytes(made.folder / name for name in ("store", "tmp", "worker.log")))
        time.sleep(every_s)
    return watched


def topic_bytes(data: Path | None) -> dict[str, int]:
    """Return the bytes of each topic's segments in the broker's folder (nothing where the broker is not our own).

    Its indexes are left out: they are laid out in advance, empty.
    """
    found: defaultdict[str, int] = defaultdict(int)
    for folder in (data / "log.dirs").glob("*-*") if data is not None else ():
        if folder.name.endswith(_GOING):
            continue
        found[folder.name.rpartition("-")[0]] += sum(_size(file) for file in folder.glob("*.log"))
    return dict(sorted(found.items()))


def file_bytes(paths: Iterable[Path]) -> dict[str, int]:
    """Return the bytes of each file there, by its name; numbers in names are one name: temporary files come and go."""
    found: defaultdict[str, int] = defaultdict(int)
    for path in paths:
        for file in [path, *path.rglob("*")] if path.is_dir() else [path]:
            if file.is_file():
                found[str(file.relative_to(path.parent))] += _size(file)
    return dict(sorted(found.items()))


def bounds(bootstrap: str, samples: Sequence[Mapping[str, int]]) -> dict[str, str]:
    """Return what bounds each topic, as the broker says it: by bytes, by time, or by compaction."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient, ConfigResource

    names = sorted(set(samples[-1]) if samples else ())
    found: dict[str, str] = {}
    asked = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
    client = AdminClient(
        {"bootstrap.servers": bootstrap, "log_level": 0}
    )  # held until the answers are there: they end with it
    for one, future in client.describe_configs(asked).items() if asked else ():
        try:
            config = {key: entry.value for key, entry in future.result(30).items()}
        except KafkaException as error:  # the broker's own log of itself is no topic
            found[one.name] = error.args[0].str()
            continue
        wanted = ("cleanup.policy", "retention.bytes", "retention.ms")
        found[one.name] = " ".join(f"{key}={config.get(key, '?')}" for key in wanted)
    return found


def growth(at_s: Sequence[float], samples: Sequence[Mapping[str, int]], bound: Mapping[str, str]) -> dict[str, Any]:
    """Return of each name its bytes at the end, the most there was, and how fast it grew in the second half."""
    found: dict[str, Any] = {}
    for name in sorted({name for one in samples for name in one}):
        series = [float(one.get(name, 0)) for one in samples]
        found[name] = {
            "bytes": int(series[-1]),
            "most_bytes": int(max(series)),
            "bytes_an_hour_second_half": _slope(*second_half(at_s, series)) * 3_600,
            **({"bound": bound[name]} if name in bound else {}),
        }
    return found


def drift(at_s: Sequence[float], values: Sequence[float]) -> float:
    """Return how much a straight line through the values rises from first to last, as a share of their mean."""
    if len(values) < 3 or at_s[-1] <= at_s[0]:
        return float("nan")
    return round(_slope(at_s, values) * (at_s[-1] - at_s[0]) / float(np.mean(values)), 4)


def second_half(at_s: Sequence[float], values: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
    """Return what was noted after half of the time."""
    middle = len(values) // 2
    return at_s[middle:], values[middle:]


def latency_medians(
    heard: Sequence[Heard], delivered: Mapping[tuple[int, int], float], begin_ms: int
) -> list[tuple[float, float]]:
    """Return (second, median latency in ms) of every minute of event time in which something was heard."""
    by_minute: defaultdict[int, list[Heard]] = defaultdict(list)
    for one in heard:
        if one.time_ms >= begin_ms:
            by_minute[one.time_ms // 60_000].append(one)
    medians = [
        (minute * 60.0, latencies_ms(events, delivered, PARTITIONS)) for minute, events in sorted(by_minute.items())
    ]
    return [(at_s, float(np.median(found))) for at_s, found in medians if found]


def _slope(at_s: Sequence[float], values: Sequence[float]) -> float:
    if len(values) < 2 or at_s[-1] <= at_s[0]:
        return float("nan")
    return float(np.polyfit(np.asarray(at_s), np.asarray(values), 1)[0])


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # deleted in between, as old segments are
        return 0
