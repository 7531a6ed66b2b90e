"""The cases of `bench throughput`: what goes into a topic or a file, and what is asked of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from benchmarks import throughput_peers
from benchmarks.broker import Broker, create_topic, delete_topics
from benchmarks.fill import Filled, Filler, fill_slices
from benchmarks.load import Fleet
from benchmarks.load_batches import OtlpMetrics, RemoteWrite
from benchmarks.load_logs import Logs
from benchmarks.processes import cpu_s
from benchmarks.throughput_worker import SCOPE, Job, Work, config_file, environ, settings_of, work
from engine.errors import SourceError
from engine.runners.kafka.config import REQUEST_HEADER

_ROOT: Final = Path(__file__).parents[1]
_SCRAPES_A_WINDOW: Final = 4
_WARM: Final = 2  # windows: what is decided of the first one is still under way when the second is read
_WINDOW_S: Final = 60
_COMMAND_S: Final = 900


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured. `series` and `windows` are those of the main case; the others keep their proportions.

    $OPSBRAIN_BENCH_QUICK=1 is for a look at whether everything runs: its figures mean nothing.
    """

    series: int = 100_000
    windows: int = 20
    few_series: int = 1_000
    few_windows: int = 1_000
    even_windows: int = 10
    many_series: int = 1_000_000
    many_windows: int = 4
    batched_windows: int = 60
    peer_messages: int = 1_500_000
    log_lines: int = 2_500_000
    log_windows: int = 20
    drain3_lines: int = 100_000
    partitions: int = 4

    @classmethod
    def from_environment(cls) -> Sizes:
        """Return the sizes that the environment asks for (OPSBRAIN_BENCH_SERIES, _WINDOWS, _MANY_SERIES ...)."""
        base = _QUICK if os.environ.get("OPSBRAIN_BENCH_QUICK", "") not in ("", "0") else cls()
        try:
            named = {name: int(os.environ[key]) for name in asdict(base) if (key := _key(name)) in os.environ}
        except ValueError as error:
            raise SourceError(f"bench: OPSBRAIN_BENCH_*: {error}; give whole numbers") from error
        return replace(base, **named)


def _key(name: str) -> str:
    return f"OPSBRAIN_BENCH_{name.upper()}"


_QUICK: Final = Sizes(
    series=2_000,
    windows=6,
    few_series=200,
    few_windows=10,
    even_windows=4,
    many_series=10_000,
    many_windows=4,
    batched_windows=6,
    peer_messages=40_000,
    log_lines=40_000,
    log_windows=6,
    drain3_lines=4_000,
)


class Cases:
    """Runs cases on one broker in one folder; the topic of the main case is filled once and serves several."""

    def __init__(self, broker: Broker, folder: Path, sizes: Sizes) -> None:
        self._broker, self._folder, self._sizes = broker, folder, sizes
        self._main: Filled | None = None
        self._one: Work | None = None

    def main(self) -> dict[str, Any]:
        """One worker, adapter JSON, 100 k series."""
        self._one, case = self._worked(Job(self._name("main"), self._main_topic(), "prometheus-adapter"))
        return case

    def floor(self) -> dict[str, Any]:
        """An empty `consume` loop over the topic of the main case."""
        filled = self._main_topic()
        took = throughput_peers.floor(self._broker, filled, filled.sent)
        return {"items": took.items, "cpu_s": took.cpu_s, "rate": took.rate}

    def peers(self) -> dict[str, Any]:
        """Each peer over the first messages of the topic of the main case."""
        filled = self._main_topic()
        warm = min(filled.warm_items, self._sizes.peer_messages // 3)
        found = throughput_peers.peers(self._broker, filled, self._sizes.peer_messages, warm)
        return {one.name: asdict(one) | {"rate": one.rate} for one in found}

    def two(self) -> dict[str, Any]:
        """Two workers over the topic of the main case, beside one."""
        one = self._one or self._worked(Job(self._name("one"), self._main_topic(), "prometheus-adapter"))[0]
        both, case = self._worked(Job(self._name("two"), self._main_topic(), "prometheus-adapter", workers=2))
        ratio = (both.cpu_s / both.items) / (one.cpu_s / one.items)
        speedup = (one.wall_s / one.items) / (both.wall_s / both.items)
        return case | {
            "cpu_ratio": ratio,
            "speedup": speedup,
            "broker_cores_one": one.broker_cpu_s / one.wall_s,
            "broker_cores_two": both.broker_cpu_s / both.wall_s,
            "generator_cores": 0.0,  # it had ended before: everything lay in the broker
        }

    def few(self) -> dict[str, Any]:
        """1 k series as they are scraped: few samples a window, so what a window costs weighs most."""
        sizes = self._sizes
        return self._scraped(self._name("few"), sizes.few_series, sizes.few_windows, _WINDOW_S)

    def even(self) -> dict[str, Any]:
        """1 k series in windows so long that each holds as many samples as one of the main case."""
        sizes = self._sizes
        window_s = _WINDOW_S * max(sizes.series // sizes.few_series, 1)
        return self._scraped(self._name("even"), sizes.few_series, sizes.even_windows, window_s)

    def many(self) -> dict[str, Any]:
        """1 M series."""
        return self._scraped(self._name("many"), self._sizes.many_series, self._sizes.many_windows, _WINDOW_S)

    def remote(self) -> dict[str, Any]:
        """Remote-write bodies as `opsbrain receive` puts them on Kafka, 100 k series."""
        return self._batched(self._name("remote"), "prometheus-remote-write", RemoteWrite, {REQUEST_HEADER: b"0" * 16})

    def otlp(self) -> dict[str, Any]:
        """OTLP bodies as the Collector's Kafka exporter puts them on Kafka, 100 k series."""
        return self._batched(self._name("otlp"), "otlp-metrics", OtlpMetrics, {})

    def file(self) -> dict[str, Any]:
        """`opsbrain replay` of a recording of our own, adapter JSON: the whole less one of the first window alone."""
        warm, rest = self._recording("warm", 1), self._recording("whole", self._sizes.windows)
        before, after = self._replayed(warm[0]), self._replayed(rest[0])
        items, cpu = rest[1] - warm[1], after - before
        return {"items": items, "cpu_s": cpu, "rate": items / cpu, "start_cpu_s": before}

    def logs(self) -> dict[str, Any]:
        """Fluent Bit's lines to template counts, and Drain3 over the same lines."""
        filled, lines = self._log_topic()
        _, case = self._worked(Job(self._name("logs"), filled, "fluentbit"))
        took = throughput_peers.drain3(lines)
        return case | {"drain3": asdict(took) | {"rate": took.rate}, "ratio_drain3": case["rate"] / took.rate}

    def _name(self, case: str) -> str:
        return f"{self._broker.run}-{case}"

    def _scraped(self, name: str, series: int, windows: int, window_s: int) -> dict[str, Any]:
        filled = self._adapter_topic(name, series, windows, window_s)
        _, case = self._worked(Job(name, filled, "prometheus-adapter", window_s))
        delete_topics(self._broker.bootstrap, name)
        return case

    def _batched(self, name: str, format: str, of: Any, headers: dict[str, bytes]) -> dict[str, Any]:
        sizes = self._sizes
        filler = self._filler(name)
        requests = of(Fleet(sizes.series, sizes.partitions))
        for scrape in range(sizes.batched_windows * _SCRAPES_A_WINDOW):
            for partition, body, items in requests.scrape(scrape):
                if headers:
                    filler.put_with(partition, body, headers, items)
                else:
                    filler.put(partition, [body], items)
            if scrape == _WARM * _SCRAPES_A_WINDOW - 1:
                filler.warm()
        _, case = self._worked(Job(name, filler.end(), format))
        delete_topics(self._broker.bootstrap, name)
        return case

    def _worked(self, job: Job) -> tuple[Work, dict[str, Any]]:
        done = work(self._folder, self._broker, job)
        case = asdict(done) | {"rate": done.rate, "workers": job.workers, "windows_s": job.resolution_s}
        case |= {"bytes_a_message": job.filled.bytes / job.filled.sent, "generator_cpu_s": job.filled.cpu_s}
        return done, case | self._accounts(job)

    def _accounts(self, job: Job) -> dict[str, Any]:
        """Return what `opsbrain export` counts; raise SourceError when a row is missing."""
        out = self._folder / job.name / "export"
        chosen = [part for one in settings_of(job) for part in ("--set", one)]
        _run(["export", "--config", str(config_file(self._folder, self._broker, job)), *chosen, "--out", str(out)])
        summary = json.loads((out / "summary.json").read_bytes())
        rows = summary["rows"]
        if rows["accepted"] != job.filled.items:
            raise SourceError(f"bench: {job.name}: {job.filled.items} rows went in, and these came of them: {rows}")
        return {"rows": rows, "anomalies": summary.get("anomalies"), "incidents": summary.get("incidents")}

    def _main_topic(self) -> Filled:
        if self._main is None:
            sizes = self._sizes
            self._main = self._adapter_topic(self._name("input"), sizes.series, sizes.windows, _WINDOW_S)
        return self._main

    def _adapter_topic(self, name: str, series: int, windows: int, window_s: int) -> Filled:
        filler = self._filler(name)
        fleet = Fleet(series, self._sizes.partitions)
        scrapes = window_s // fleet.scrape_s
        for scrape in range(windows * scrapes):
            fill_slices(filler, fleet.adapter_json(scrape))
            if scrape == _WARM * scrapes - 1:
                filler.warm()
        return filler.end()

    def _log_topic(self) -> tuple[Filled, list[bytes]]:
        sizes = self._sizes
        filler = self._filler(self._name("lines"))
        lines: list[bytes] = []
        for batch in Logs(sizes.log_lines, sizes.log_windows * _WINDOW_S, sizes.partitions).batches():
            for partition in range(sizes.partitions):
                filler.put(partition, [body for place, body, _ in batch if place == partition])
            if len(lines) < sizes.drain3_lines:
                lines += [line.encode() for _, _, line in batch]
            if not filler.filled.warm and filler.filled.items * sizes.log_windows >= _WARM * sizes.log_lines:
                filler.warm()
        return filler.end(), lines[: sizes.drain3_lines]

    def _filler(self, topic: str) -> Filler:
        create_topic(self._broker.bootstrap, topic, self._sizes.partitions)
        return Filler(self._broker.bootstrap, topic, self._sizes.partitions)

    def _recording(self, name: str, windows: int) -> tuple[Path, int]:
        folder = self._folder / f"recording-{name}"
        folder.mkdir()
        fleet = Fleet(self._sizes.series, 1)
        with open(folder / "metrics.jsonl", "w") as file:
            for body in _bodies(fleet, windows * _SCRAPES_A_WINDOW):
                file.write(body)
        inputs = [{"name": "metrics", "kind": "metrics", "format": "prometheus-adapter", "file": "metrics.jsonl"}]
        manifest = {"format": "opsbrain-recording", "version": 1, "scope": SCOPE, "resolution_ms": 1000 * _WINDOW_S}
        (folder / "recording.json").write_text(json.dumps(manifest | {"inputs": inputs}))
        return folder, self._sizes.series * windows * _SCRAPES_A_WINDOW

    def _replayed(self, recording: Path) -> float:
        """Return the processor seconds of a replay."""
        before = cpu_s([os.getpid()])
        _run(["replay", str(recording), "--format", "opsbrain", "--set", 'detectors.enabled=["zscore"]'])
        return cpu_s([os.getpid()]) - before


def _bodies(fleet: Fleet, scrapes: int) -> Iterator[str]:
    for scrape in range(scrapes):
        for one in fleet.adapter_json(scrape):
            yield "\n".join([*one.bodies, ""])


def _run(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "opsbrain", *arguments]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, timeout=_COMMAND_S, check=False, env=environ())
    if done.returncode:
        raise SourceError(f"bench: opsbrain {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}")
