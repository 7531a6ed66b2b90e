"""Workers as users start them (a process of their own), over topics and groups that only this test has."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import Retryable
from engine.runners.kafka.lag import lag
from opsbrain.kafka_config import kafka_config
from opsbrain.settings_load import load_settings
from tests.conftest import ROOT

DONE_TIMEOUT_S = 120.0
SESSION_S = 6  # the least that a broker allows by default


@dataclass
class Cluster:
    """One set of our topics and groups over given telemetry topics, and the workers on it."""

    folder: Path
    name: str
    settings: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @classmethod
    def over(
        cls,
        bootstrap: str,
        folder: Path,
        name: str,
        formats: Mapping[str, str],
        *,
        scope: str,
        resolution_s: int,
        fit_every_s: int = 120,
        idle_after_s: int = 60,
        partitions: int = 4,
        more: str = "",
    ) -> Cluster:
        """Write settings for workers that read `formats` (wire format by topic)."""
        topics = "".join(
            f'[[kafka.telemetry]]\ntopic = "{topic}"\nformat = "{format}"\nscope = "{scope}"\n'
            for topic, format in formats.items()
        )
        text = (
            f"{more}\n[pipeline]\nresolution_s = {resolution_s}\nfit_every_s = {fit_every_s}\nfit_delay_s = 60\n"
            f"idle_after_s = {idle_after_s}\n"
            f'[worker]\nlisten = ""\n'
            f'[store]\nfolder = "{folder / name / "store"}"\n'
            f'[kafka]\nbootstrap = "{bootstrap}"\ngroup_prefix = "{name}"\ntopic_prefix = "{name}."\n'
            f"partitions = {partitions}\nsession_timeout_s = {SESSION_S}\ncheckpoint_every_s = 0.5\n{topics}"
        )
        (folder / name).mkdir(parents=True, exist_ok=True)
        settings = folder / name / "opsbrain.toml"
        settings.write_text(text)
        return cls(folder / name, name, settings)

    def start(self) -> subprocess.Popen[bytes]:
        """Start one worker."""
        log = open(self.folder / f"worker-{len(self.running)}.log", "wb")  # noqa: SIM115  (the process owns it)
        command = [sys.executable, "-m", "opsbrain", "worker", "--config", str(self.settings)]
        with log:
            worker = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        self.running.append(worker)
        return worker

    def said(self) -> str:
        """Return what all workers printed."""
        return "".join(one.read_text() for one in sorted(self.folder.glob("worker-*.log")))

    def lag(self) -> dict[str, int]:
        """Return how many messages wait, by role and topic."""
        return lag(kafka_config(load_settings(self.settings, {})))

    def wait_until_read(self, share: float, of: int) -> None:
        """Return when the decoders have committed that share of `of` messages."""
        left = of * (1 - share)
        self._wait(lambda lag: sum(n for name, n in lag.items() if name.startswith("decode")) <= left)

    def wait_until_done(self) -> None:
        """Return when everything sent is in its results."""
        # twice: the topics are asked one after the other, and what is done in between makes more
        self._wait(lambda lag: not any(lag.values()))
        self._wait(lambda lag: not any(lag.values()))

    def _wait(self, reached: Callable[[dict[str, int]], bool]) -> None:
        deadline = time.monotonic() + DONE_TIMEOUT_S
        while not self._reached(reached):
            assert any(one.poll() is None for one in self.running), f"no worker runs any more: {self.said()}"
            assert time.monotonic() < deadline, f"not there in {DONE_TIMEOUT_S:g} s: {self.said()}"
            time.sleep(0.2)

    def _reached(self, reached: Callable[[dict[str, int]], bool]) -> bool:
        try:
            return reached(self.lag())
        except Retryable:  # topics that are just being made
            return False

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """End a worker without any warning."""
        worker.send_signal(signal.SIGKILL)
        worker.wait()

    def stop(self) -> list[int]:
        """Ask all workers to stop; return their exit statuses."""
        for one in self.running:
            if one.poll() is None:
                one.send_signal(signal.SIGTERM)
        return [one.wait(timeout=15) for one in self.running]

    def export(self) -> Path:
        """Run `opsbrain export`; return the folder."""
        out = self.folder / "export"
        done = opsbrain("export", "--config", str(self.settings), "--out", str(out))
        assert done.returncode == 0, done.stderr
        return out


@contextlib.contextmanager
def working(cluster: Cluster) -> Iterator[Cluster]:
    """Leave no process behind, whatever the test does."""
    try:
        yield cluster
    finally:
        for one in cluster.running:
            if one.poll() is None:
                cluster.kill(one)


def wait_until(reached: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Return when something outside this process has happened; fail when it does not."""
    deadline = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline, f"not there in {timeout_s:g} s"
        time.sleep(0.1)


def opsbrain(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    command = [sys.executable, "-m", "opsbrain", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=os.environ, check=False)
