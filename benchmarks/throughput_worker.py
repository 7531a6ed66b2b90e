"""Runs `opsbrain worker` over a filled topic, as users start it, and counts what it costs until all is decided.

What is measured begins when the worker has committed that it read the warm-up (in which it meets every series for the
first time), with what it had read by then, and ends when no message waits in any of its topics and its last window is
decided. The processor seconds of the beginning were read before that commit was seen, those of the end are read after
nothing was left: what cannot be told apart counts against us.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.broker import Broker
from benchmarks.fill import Filled
from benchmarks.processes import cpu_s, peak_rss_mb
from engine.errors import Retryable, SourceError
from engine.runners.kafka.decoder import committed_of
from engine.runners.kafka.lag import lag
from opsbrain.kafka_config import kafka_config
from opsbrain.settings_load import load_settings

if TYPE_CHECKING:
    from confluent_kafka import Consumer

SCOPE: Final = "bench"
DETECTORS: Final = ("zscore",)
SWITCHED_OFF: Final = "detector forest (only zscore runs)"
_ROOT: Final = Path(__file__).parents[1]
_POLL_S: Final = 0.2
_STOP_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is to do: a topic and its wire format, how long windows are, and settings beyond the defaults."""

    name: str
    filled: Filled
    format: str
    resolution_s: int = 60
    more: tuple[str, ...] = ()
    workers: int = 1
    timeout_s: float = 900.0


@dataclass(frozen=True, slots=True)
class Work:
    """What it took, from the end of the warm-up on; `rate` is samples (or lines) a core-second of our processes."""

    items: int
    cpu_s: float
    wall_s: float
    broker_cpu_s: float
    peak_rss_mb: float
    start_cpu_s: float  # until the end of the warm-up: imports, joining the group, series seen for the first time
    start_items: int  # what was read by then

    @property
    def rate(self) -> float:
        """Return items a core-second."""
        return self.items / self.cpu_s


def config_file(folder: Path, broker: Broker, job: Job) -> Path:
    """Write the settings of a job; what is not in them is as shipped."""
    (folder / job.name).mkdir(parents=True, exist_ok=True)
    file = folder / job.name / "opsbrain.toml"
    file.write_text(
        f'[worker]\nlisten = "127.0.0.1:0"\n[store]\nfolder = "{folder / job.name / "store"}"\n'
        f'[kafka]\nbootstrap = "{broker.bootstrap}"\ngroup_prefix = "{job.name}"\ntopic_prefix = "{job.name}."\n'
        f'[[kafka.telemetry]]\ntopic = "{job.filled.topic}"\nformat = "{job.format}"\nscope = "{SCOPE}"\n'
    )
    return file


def settings_of(job: Job) -> list[str]:
    """Return what is set beyond broker and topics, as `--set` has it."""
    enabled = ",".join(f'"{one}"' for one in DETECTORS)
    return [f"pipeline.resolution_s={job.resolution_s}", f"detectors.enabled=[{enabled}]", *job.more]


def work(folder: Path, broker: Broker, job: Job) -> Work:
    """Return what the workers took; raise SourceError when they end, hang or lose a row."""
    file = config_file(folder, broker, job)
    chosen = [part for one in settings_of(job) for part in ("--set", one)]
    command = [sys.executable, "-m", "opsbrain", "worker", "--config", str(file), *chosen]
    running = _Running.started(command, file.parent, job)
    try:
        done = running.measured(broker, file)
    finally:
        running.stop()
    return done


@dataclass(slots=True)
class _Running:
    job: Job
    folder: Path
    processes: list[subprocess.Popen[bytes]]

    @classmethod
    def started(cls, command: Sequence[str], folder: Path, job: Job) -> _Running:
        processes = []
        for number in range(job.workers):
            with open(folder / f"worker-{number}.log", "wb") as log:
                processes.append(subprocess.Popen(command, cwd=_ROOT, stdout=log, stderr=log, env=environ()))
        return cls(job, folder, processes)

    def measured(self, broker: Broker, file: Path) -> Work:
        config = kafka_config(load_settings(file, {}, settings_of(self.job)))
        progress = Progress(broker.bootstrap, config.group("decode"), self.job.filled)
        filled, pids = self.job.filled, [one.pid for one in self.processes]
        brokers = [broker.pid] if broker.pid else []
        deadline = time.monotonic() + self.job.timeout_s
        whole = (0.0, cpu_s(brokers), time.monotonic())
        try:
            start = self._until(lambda: progress.passed(filled.warm), deadline, pids, brokers)
            start_items = round(filled.items * progress.read / filled.sent)
            if start_items > 0.75 * filled.items:  # so little that a commit or two held it: all counts, imports too
                start, start_items = whole, 0
            self._until(lambda: progress.passed(filled.messages), deadline, pids, brokers)
        finally:
            progress.close()
        self._until(lambda: not _waiting(config), deadline, pids, brokers)
        self._until(lambda: not _waiting(config), deadline, pids, brokers)  # twice: topics are asked one by one
        end = (cpu_s(pids), cpu_s(brokers), time.monotonic())
        peak = peak_rss_mb(pids)
        return Work(
            items=filled.items - start_items,
            cpu_s=end[0] - start[0],
            wall_s=end[2] - start[2],
            broker_cpu_s=end[1] - start[1],
            peak_rss_mb=peak,
            start_cpu_s=start[0],
            start_items=start_items,
        )

    def _until(
        self, reached: Any, deadline: float, pids: Sequence[int], brokers: Sequence[int]
    ) -> tuple[float, float, float]:
        """Return (CPU, the broker's CPU, clock) as they were when it was last seen that it is not `reached`."""
        before = (cpu_s(pids), cpu_s(brokers), time.monotonic())
        while True:
            now = (cpu_s(pids), cpu_s(brokers), time.monotonic())
            if reached():
                return before
            before = now
            for one in self.processes:
                if one.poll() is not None:
                    raise SourceError(f"bench: the worker ended with status {one.returncode}: {self.said()}")
            if time.monotonic() > deadline:
                raise SourceError(f"bench: {self.job.name} is not done in {self.job.timeout_s:g} s: {self.said()}")
            time.sleep(_POLL_S)

    def said(self) -> str:
        """Return the last of what the workers printed."""
        text = "".join(one.read_text(errors="replace") for one in sorted(self.folder.glob("worker-*.log")))
        return (
            " / ".join(text.strip().splitlines()[-(60 if "OPSBRAIN_DEBUG" in os.environ else 3) :]) or "it said nothing"
        )

    def stop(self) -> None:
        for one in self.processes:
            with suppress(ProcessLookupError):
                one.send_signal(signal.SIGTERM)
        for one in self.processes:
            try:
                one.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()


class Progress:
    """How far the decoders have committed that they read, by one client that stays: asking must cost little."""

    def __init__(self, bootstrap: str, group: str, filled: Filled) -> None:
        from confluent_kafka import Consumer, TopicPartition

        self._consumer: Consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False, "log_level": 0}
        )
        self._asked = [TopicPartition(filled.topic, number) for number in range(filled.partitions)]
        self.read = 0

    def passed(self, positions: Mapping[int, int]) -> bool:
        """Return whether every partition was read up to there."""
        from confluent_kafka import KafkaException

        try:
            found = self._consumer.committed(self._asked, timeout=10)
        except KafkaException:
            return False
        read = {one.partition: _position(one) for one in found}
        self.read = sum(read.values())
        return all(read.get(number, 0) >= wanted for number, wanted in positions.items())

    def close(self) -> None:
        """Let go of the client."""
        self._consumer.close()


def _position(one: Any) -> int:
    committed = committed_of(one.metadata) if one.offset >= 0 else None
    return committed.position if committed is not None else 0


def _waiting(config: Any) -> int:
    try:
        return sum(lag(config).values())
    except Retryable:
        return 1


def environ() -> dict[str, str]:
    """Return the environment without settings and switches of ours: a worker runs as shipped."""
    kept = {"OPSBRAIN_DEBUG", "OPSBRAIN_CACHE"}
    return {name: text for name, text in os.environ.items() if name in kept or not name.startswith("OPSBRAIN_")}
