"""`opsbrain bench throughput`: samples and lines a core-second, Kafka to decision and file to decision, and the peers.

Everything lies in a real broker before it is measured. What counts is processor seconds of our own processes (all
threads and children), so the broker, the generator and other people's programs on the machine are left out; the floor,
the peers and Drain3 are measured in the same way in the same run. The sizes are in `throughput_cases.Sizes`.

$OPSBRAIN_BENCH_CASES names cases: main, floor, peers, two, few, even, many, remote, otlp, file, logs; all by default.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks.broker import broker
from benchmarks.throughput_cases import Cases, Sizes
from benchmarks.throughput_worker import SWITCHED_OFF
from engine.errors import SourceError

CASES: Final[Mapping[str, Callable[[Cases], dict[str, Any]]]] = {
    "main": Cases.main,
    "floor": Cases.floor,
    "peers": Cases.peers,
    "two": Cases.two,
    "few": Cases.few,
    "even": Cases.even,
    "many": Cases.many,
    "remote": Cases.remote,
    "otlp": Cases.otlp,
    "file": Cases.file,
    "logs": Cases.logs,
}
"""Every case, in the order in which they run."""


def run(data: Path | None = None) -> dict[str, Any]:
    """Return what the cases that were asked for took; `data` is not used: the telemetry is made from a seed.

    Raises SourceError when there is no broker, a worker fails or a row is lost.
    """
    chosen, sizes = _chosen(), Sizes.from_environment()
    found: dict[str, dict[str, Any]] = {}
    with broker() as running, tempfile.TemporaryDirectory(prefix="opsbrain-bench-") as folder:
        cases = Cases(running, Path(folder), sizes)
        for name in chosen:
            found[name] = CASES[name](cases)
            _say(name, found[name])
    return {
        "name": "throughput",
        "version": version("opsbrain"),
        "data": {
            "generated": asdict(sizes),
            "switched_off": SWITCHED_OFF,
            "machine": f"Python {platform.python_version()} on {platform.machine()}, {os.cpu_count()} cores",
        },
        "metrics": metrics_of(found),
        "cases": [{"case": name, **case} for name, case in found.items()],
    }


def metrics_of(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the keys that scripts rely on, of the cases that ran."""
    metrics: dict[str, Any] = {}
    for name, key in _RATES.items():
        if name in found:
            metrics[key] = round(found[name]["rate"])
    if "main" in found and "floor" in found:
        metrics["ratio_floor"] = _ratio(found["main"]["rate"], found["floor"]["rate"])
    metrics |= _of_peers(found) | _of_sizes(found)
    if "two" in found:
        metrics |= {f"two_workers_{key}": round(found["two"][key], 3) for key in ("cpu_ratio", "speedup")}
    if "logs" in found:
        metrics["drain3_lines_per_core_s"] = _whole(found["logs"]["drain3"]["rate"])
        metrics["ratio_drain3"] = round(found["logs"]["ratio_drain3"], 2)
    return metrics


_RATES: Final = {
    "main": "kafka_samples_per_core_s",
    "floor": "floor_messages_per_core_s",
    "few": "kafka_samples_per_core_s_1k",
    "even": "kafka_samples_per_core_s_1k_even",
    "many": "kafka_samples_per_core_s_1m",
    "remote": "remote_write_samples_per_core_s",
    "otlp": "otlp_samples_per_core_s",
    "file": "file_samples_per_core_s",
    "logs": "log_lines_per_core_s",
}


def _of_peers(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    rates = {name: one["rate"] for name, one in found.get("peers", {}).items() if not one["skipped"]}
    metrics: dict[str, Any] = {f"{name}_samples_per_core_s": round(rate) for name, rate in rates.items()}
    metrics |= {f"{name}_skipped": one["skipped"] for name, one in found.get("peers", {}).items() if one["skipped"]}
    if rates and "main" in found:
        metrics["best_peer"] = max(rates, key=lambda name: rates[name])
        metrics["ratio_best_peer"] = _ratio(found["main"]["rate"], max(rates.values()))
    return metrics


def _of_sizes(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the memory, and by how much the dearest sample exceeds the cheapest from 1 k to 1 M series."""
    metrics: dict[str, Any] = {}
    peaks = {name: found[name]["peak_rss_mb"] for name in ("main", "many") if name in found}
    if peaks:
        metrics["peak_rss_mb"] = round(max(peaks.values()))
        metrics |= {f"peak_rss_mb_{name}": round(peak) for name, peak in peaks.items()}
    for key, few in (("cost_spread", "even"), ("cost_spread_plain", "few")):
        if all(name in found for name in (few, "main", "many")):
            costs = [1 / found[name]["rate"] for name in (few, "main", "many")]
            metrics[key] = round(max(costs) / min(costs) - 1, 3)
    return metrics


def _say(name: str, case: Mapping[str, Any]) -> None:
    """Tell whoever watches that a case is done: all of them take minutes."""
    if sys.stderr.isatty() or os.environ.get("OPSBRAIN_BENCH_SAY", "") not in ("", "0"):
        told = {key: one if isinstance(one, str) else float(f"{one:.4g}") for key, one in _flat(case)}
        sys.stderr.write(f"throughput: {name}: {told}\n")


def _flat(case: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(key, one) for key, one in case.items() if isinstance(one, int | float | str)] + [
        (f"{key}.rate", one["rate"]) for key, one in case.items() if isinstance(one, dict) and "rate" in one
    ]


def _chosen() -> list[str]:
    named = [one.strip() for one in os.environ.get("OPSBRAIN_BENCH_CASES", "").split(",") if one.strip()]
    if unknown := [one for one in named if one not in CASES]:
        raise SourceError(
            f"bench throughput: OPSBRAIN_BENCH_CASES: no case {unknown[0]!r}; there are {', '.join(CASES)}"
        )
    return [name for name in CASES if not named or name in named]


def _ratio(ours: float, theirs: float) -> float:
    return round(ours / theirs, 3)


def _whole(number: float) -> int | None:
    return round(number) if number == number else None
