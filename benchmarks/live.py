"""The rig of `bench latency` and `bench soak`: broker, generator, worker as shipped, and a real receiver of webhooks.

What latency is: from the moment the broker has acknowledged, in every partition, the message that a window's end waits
for (the first one `pipeline.lateness_s` after it) to the moment the webhook about that window has been received.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.broker import Broker, create_topic
from benchmarks.live_generator import Plan, Sent
from benchmarks.live_receiver import Heard, Receiver
from benchmarks.throughput_worker import SCOPE, environ
from engine.errors import Retryable, SourceError
from engine.runners.kafka.lag import lag
from opsbrain.kafka_config import kafka_config
from opsbrain.settings_load import load_settings

LATENESS_S: Final = 5  # as shipped
_ROOT: Final = Path(__file__).parents[1]
_STOP_S: Final = 20.0
_POLL_S: Final = 0.5


@dataclass(slots=True)
class Rig:
    """What runs: settings, the generator's plan and the processes."""

    folder: Path
    broker: Broker
    plan: Plan
    config: Path
    receiver: Receiver
    worker: subprocess.Popen[bytes]
    generator: subprocess.Popen[bytes]

    def check(self) -> None:
        """Raise SourceError when the worker or, before its end, the generator has ended."""
        if self.worker.poll() is not None:
            raise SourceError(f"bench: the worker ended with status {self.worker.returncode}: {self._said('worker')}")
        if self.generator.poll():
            raise SourceError(f"bench: the generator ended: {self._said('generator')}")

    def wait_sent(self) -> Sent:
        """Return what was sent, once the generator is done."""
        while self.generator.poll() is None:
            self.check()
            time.sleep(_POLL_S)
        self.check()
        return msgspec.json.decode((self.folder / "sent.json").read_bytes(), type=Sent)

    def wait_decided(self, timeout_s: float = 180.0) -> None:
        """Return when nothing waits in any topic, twice in a row; notifications have some seconds more."""
        config, deadline, still = kafka_config(load_settings(self.config, {})), time.monotonic() + timeout_s, 0
        while still < 2:
            self.check()
            if time.monotonic() > deadline:
                raise SourceError(f"bench: not all is decided in {timeout_s:g} s: {self._said('worker')}")
            with suppress(Retryable):
                still = still + 1 if not any(lag(config).values()) else 0
            time.sleep(_POLL_S)

    def delivered(self) -> dict[tuple[int, int], float]:
        """Return when the broker had the first message of each (second, partition)."""
        lines = (self.folder / "delivered.jsonl").read_bytes().splitlines()
        return {(int(second), int(place)): at_s for second, place, at_s in map(json.loads, lines)}

    def export(self) -> Path:
        """Run `opsbrain export`; return the folder."""
        out = self.folder / "export"
        command = [sys.executable, "-m", "opsbrain", "export", "--config", str(self.config), "--out", str(out)]
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, check=False, env=environ(), timeout=600)
        if done.returncode:
            raise SourceError(f"bench: opsbrain export failed: {done.stderr.decode(errors='replace').strip()}")
        return out

    def _said(self, who: str) -> str:
        lines = (self.folder / f"{who}.log").read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:]) or "it said nothing"


@contextmanager
def rig(
    folder: Path, broker: Broker, receiver: Receiver, plan: Plan, more: str, topic: Mapping[str, str] | None = None
) -> Iterator[Rig]:
    """Yield everything running; `more` is TOML beyond broker, topic and receiver. Nothing is left behind."""
    create_topic(broker.bootstrap, plan.topic, plan.partitions, topic)
    config = folder / "opsbrain.toml"
    config.write_text(_settings(folder, broker, receiver, plan, more))
    (folder / "plan.json").write_bytes(msgspec.json.encode(plan))
    worker = _start(folder, "worker", ["opsbrain", "worker", "--config", str(config)])
    generator = _start(folder, "generator", ["benchmarks.live_generator", str(folder / "plan.json")])
    made = Rig(folder, broker, plan, config, receiver, worker, generator)
    try:
        yield made
    finally:
        for one in (generator, worker):
            _stop(one)


def latencies_ms(
    heard: Sequence[Heard], delivered: Mapping[tuple[int, int], float], partitions: int, since_ms: int = 0
) -> list[float]:
    """Return the latency of each webhook, of repeats the first; those of windows that ended with the load are not."""
    found: list[float] = []
    seen: set[str] = set()
    for one in heard:
        if one.id in seen or one.time_ms < since_ms:
            continue
        seen.add(one.id)
        needed_s = one.time_ms // 1_000 + LATENESS_S
        times = [delivered.get((needed_s, place)) for place in range(partitions)]
        known = [at_s for at_s in times if at_s is not None]
        if len(known) == partitions:
            found.append((one.at_s - max(known)) * 1_000)
    return found


def _settings(folder: Path, broker: Broker, receiver: Receiver, plan: Plan, more: str) -> str:
    return (
        f'{more}\n[worker]\nlisten = "127.0.0.1:0"\n[detectors]\nenabled = ["zscore"]\n'
        f'[store]\nfolder = "{folder / "store"}"\n'
        f'[[notify.webhooks]]\nname = "bench"\nurl = "{receiver.url}"\n'
        f'[kafka]\nbootstrap = "{broker.bootstrap}"\ngroup_prefix = "{broker.run}-live"\n'
        f'topic_prefix = "{broker.run}-live."\n'
        f'[[kafka.telemetry]]\ntopic = "{plan.topic}"\nformat = "prometheus-adapter"\nscope = "{SCOPE}"\n'
    )


def _start(folder: Path, name: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    with open(folder / f"{name}.log", "wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments], cwd=_ROOT, stdout=log, stderr=log, env=environ() | _temporary(folder)
        )


def _temporary(folder: Path) -> dict[str, str]:
    """Return where the process keeps what is temporary: in the folder whose growth is watched."""
    (folder / "tmp").mkdir(exist_ok=True)
    return {"TMPDIR": os.fspath(folder / "tmp")}


def _stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
