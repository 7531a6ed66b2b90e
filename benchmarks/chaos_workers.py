"""The workers of `bench chaos`, as `opsbrain worker` starts them; each in a place that has a state folder of its own.

Who takes a place after a crash finds the folder of who was there before, as a supervisor on one machine would have it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

PLACES: Final = 3
SESSION_S: Final = 6  # the least that a broker allows by default
STOP_S: Final = 10.0  # promised: within this a worker that is asked to stop has ended
_PATIENCE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Group:
    """One set of workers over the telemetry topics: their settings file and where they keep state and logs."""

    folder: Path
    state: Path
    settings: Path


def group(
    folder: Path, state: Path, name: str, bootstrap: str, topics: Mapping[str, tuple[str, str]], url: str
) -> Group:
    """Write the settings of a group that reads `topics` (format and scope by topic) and notifies `url`."""
    telemetry = "".join(
        f'[[kafka.telemetry]]\ntopic = "{topic}"\nformat = "{format}"\nscope = "{scope}"\n'
        for topic, (format, scope) in sorted(topics.items())
    )
    # idle_after_s: no idle mark is ever made, since they come from a clock and the two runs must have the same
    text = (
        "[pipeline]\nresolution_s = 10\nfit_every_s = 240\nfit_delay_s = 60\nquiet_s = 60\nidle_after_s = 86400\n"
        f'shards = 16\n[worker]\nlisten = ""\n[[notify.webhooks]]\nname = "chaos"\nurl = "{url}"\n'
        f'[kafka]\nbootstrap = "{bootstrap}"\ngroup_prefix = "{name}"\ntopic_prefix = "{name}."\npartitions = 4\n'
        f"session_timeout_s = {SESSION_S}\ncheckpoint_every_s = 0.5\n{telemetry}"
    )
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "opsbrain.toml"
    settings.write_text(text)
    return Group(folder, state, settings)


@dataclass(slots=True)
class Workers:
    """The workers of a group, at most one a place.

    ended   what workers said that ended though nobody asked them to
    slow_s  how long each took that took longer to stop than promised
    """

    group: Group
    ended: list[str] = field(default_factory=list)
    slow_s: list[float] = field(default_factory=list)
    started: int = 0
    _running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    _frozen: set[int] = field(default_factory=set)

    def running(self) -> list[int]:
        """Return the places whose workers run and are awake; note those that ended by themselves."""
        for place, process in sorted(self._running.items()):
            if process.poll() is not None:
                self._ended(place, f"ended by itself with status {process.returncode}")
        return [place for place in sorted(self._running) if place not in self._frozen]

    def pids(self) -> list[int]:
        """Return the process ids of all that run."""
        return [process.pid for process in self._running.values()]

    def start(self, place: int) -> None:
        """Start a worker in a place, if nobody is there."""
        if place in self.running() or place in self._frozen:
            return
        state = self.group.state / str(place)
        temporary = self.group.state / "tmp"
        for folder in (state, temporary):
            with contextlib.suppress(OSError):  # the disk may be full: the worker has to cope
                folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "opsbrain", "worker", "--config", str(self.group.settings)]
        command += ["--set", f"store.folder={state}"]
        environment = {**os.environ, "TMPDIR": str(temporary)}
        with self._log(place) as log:
            self._say(log, f"started as worker {self.started}")
            self._running[place] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self.started += 1

    def kill(self, place: int) -> None:
        """End a worker without any warning."""
        if (process := self._running.pop(place, None)) is not None:
            self._frozen.discard(place)
            process.kill()
            process.wait()
            self.note(place, "killed")

    def freeze(self, place: int) -> None:
        """Stop a worker's process where it stands."""
        if place in self.running():
            self._frozen.add(place)
            self._running[place].send_signal(signal.SIGSTOP)
            self.note(place, "frozen")

    def thaw(self) -> None:
        """Let every frozen worker go on."""
        for place in sorted(self._frozen):
            self.note(place, "woken")
            self._running[place].send_signal(signal.SIGCONT)
        self._frozen.clear()

    def stop(self, places: list[int]) -> None:
        """Ask workers to stop, and wait for them; note who took too long or ended badly."""
        began_s = time.monotonic()
        asked = [place for place in places if place in self.running()]
        for place in asked:
            self.note(place, "asked to stop")
            self._running[place].send_signal(signal.SIGTERM)
        for place in asked:
            self._await(place, began_s)

    def kill_all(self) -> None:
        """Leave nothing behind that runs."""
        for place in list(self._running):
            self.kill(place)

    def note(self, place: int, text: str) -> None:
        """Write a line of ours into a worker's log, so that its own lines can be read beside what was done to it."""
        with self._log(place) as log:
            self._say(log, text)

    def lines(self, wanted: str) -> list[str]:
        """Return the lines of all logs that hold `wanted`."""
        logs = sorted(self.group.folder.glob("place-*.log"))
        return [line for one in logs for line in one.read_text(errors="replace").splitlines() if wanted in line]

    def _await(self, place: int, began_s: float) -> None:
        process = self._running[place]
        try:
            status = process.wait(max(0.0, began_s + _PATIENCE_S - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.slow_s.append(_PATIENCE_S)
            self.kill(place)
            return
        took_s = time.monotonic() - began_s
        if took_s > STOP_S:
            self.slow_s.append(took_s)
            self.note(place, f"took {took_s:.1f} s to stop")
        if status != 0:
            self._ended(place, f"was asked to stop and ended with status {status}")
        self._running.pop(place, None)

    def _ended(self, place: int, how: str) -> None:
        del self._running[place]
        self._frozen.discard(place)
        self.note(place, how)
        last = self._path(place).read_text(errors="replace").splitlines()[-4:-1]
        self.ended.append(f"the worker in place {place} {how}: {' | '.join(last)}")

    def _path(self, place: int) -> Path:
        return self.group.folder / f"place-{place}.log"

    def _log(self, place: int) -> IO[bytes]:
        return open(self._path(place), "ab", buffering=0)

    @staticmethod
    def _say(log: IO[bytes], text: str) -> None:
        log.write(f"--- {time.strftime('%H:%M:%S')} {text}\n".encode())
