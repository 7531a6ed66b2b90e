"""The broker of `bench chaos`: a real one of our own, killed and started again on the same log folder."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

from engine.errors import SourceError

_RUN: Final = Path(__file__).resolve().parents[1] / "deploy" / "kafka" / "run.sh"
_START_S: Final = 240.0  # the first start ever fetches the jars
_GONE_S: Final = 20.0


class Broker:
    """One broker on loopback; its data stay in `folder` over any number of kills."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = _free_ports()
        self._starting: subprocess.Popen[str] | None = None

    @property
    def bootstrap(self) -> str:
        """Return its address."""
        return f"127.0.0.1:{self._ports[0]}"

    def start(self) -> None:
        """Begin to start it, on the data that are there."""
        port, controller = self._ports
        flags = ["--data", str(self._folder), "--port", str(port), "--controller-port", str(controller)]
        self._starting = subprocess.Popen(
            [str(_RUN), "start", *flags], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def ready(self) -> None:
        """Return when it listens, if it was started; raise SourceError when it could not."""
        if self._starting is None:
            return
        try:
            _, said = self._starting.communicate(timeout=_START_S)
        except subprocess.TimeoutExpired as error:
            self._starting.kill()
            raise SourceError(f"chaos: the broker did not start in {_START_S:g} s") from error
        status, self._starting = self._starting.returncode, None
        if status != 0:
            raise SourceError(f"chaos: {said.strip()}")

    def kill(self) -> None:
        """End it without any warning; return when it is gone."""
        pid = self._pid()
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        deadline_s = time.monotonic() + _GONE_S
        while self._pid() is not None and time.monotonic() < deadline_s:
            time.sleep(0.02)

    def end(self) -> None:
        """Leave nothing behind that runs."""
        if self._starting is not None:
            self._starting.kill()
            self._starting.communicate()
        self.kill()

    def _pid(self) -> int | None:
        """Return the process id, or None when it does not run (a zombie does not)."""
        try:
            pid = int((self._folder / "pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if str(self._folder).encode() in command else None


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1]), int(two.getsockname()[1])
