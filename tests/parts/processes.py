"""Programs of others as child processes of a test run: started on free ports, awaited, and gone at the end."""

import itertools
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

READY_S = 30.0
_FIRST_PORT, _PORTS = 18_000, 14_000
_NUMBERS = itertools.count(os.getpid() * 97 % _PORTS)  # two test runs at once begin far from each other
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback never goes through a proxy


def free_port() -> int:
    """Return a TCP port of loopback that nothing listens on."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return ``count`` consecutive free ports: a control plane takes three in a row.

    They are below those that the kernel gives to clients: while a server is away to come back, a client that tries to
    reach it could otherwise be given the server's own port, connect to itself and keep the port.
    """
    while True:
        start = _FIRST_PORT + next(_NUMBERS) * count % _PORTS
        if all(_is_free(start + at) for at in range(count)):
            return list(range(start, start + count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def fetch(url: str, body: bytes | None = None, timeout_s: float = 5.0) -> bytes:
    """GET ``url``, or POST ``body`` to it; raise OSError where the answer is no success."""
    return _DIRECT.open(url, data=body, timeout=timeout_s).read()


def answers(url: str) -> bool:
    """Say whether a GET of ``url`` succeeds now."""
    try:
        fetch(url)
    except (OSError, ValueError):
        return False
    return True


def eventually(ready: Callable[[], bool], timeout_s: float = READY_S, step_s: float = 0.05) -> bool:
    """Ask ``ready`` until it says yes, at most ``timeout_s``; return whether it did."""
    end = time.monotonic() + timeout_s
    while not (done := ready()) and time.monotonic() < end:
        time.sleep(step_s)
    return done


@dataclass(slots=True)
class Program:
    """A program of somebody else's that runs. Use it in a `with` block, or call `stop`."""

    command: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self, ready: Callable[[], bool], timeout_s: float = READY_S) -> Self:
        """Start it, and return once ``ready`` says so; AssertionError with its last words when it ends before."""
        # It dies with us also where pytest is killed: a session of its own alone would leave it behind.
        tied = [tie, "--pdeathsig", "TERM"] if (tie := shutil.which("setpriv")) else []
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*tied, *self.command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        if not eventually(lambda: self.process.poll() is not None or ready(), timeout_s) or not self.running():
            self.stop()
            raise AssertionError(f"{self.command[0]} did not get ready: {self.last_words()}")
        return self

    def running(self) -> bool:
        """Say whether it still runs."""
        return self.process is not None and self.process.poll() is None

    def last_words(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-2_000:] if self.log.exists() else ""

    def kill(self) -> None:
        """End it at once, without a chance to finish what it does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def stop(self, timeout_s: float = 15.0) -> None:
        """End it in order, or by force where it takes too long; do nothing where it has ended."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
