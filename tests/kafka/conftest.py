"""A real broker for the tests of this folder: the one named by $OPSBRAIN_KAFKA, or one of our own on free ports."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
RUN = HERE.parents[1] / "deploy" / "kafka" / "run.sh"
START_TIMEOUT_S = 240  # the first start fetches 54 MB of jars


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that answers; tests share it, so each takes topic and group names of its own."""

    bootstrap: str
    data: Path | None  # None: it was there before us and stays

    def pid(self) -> int:
        """Return the process id of our own broker, for tests that kill it."""
        if self.data is None:
            pytest.skip("this test kills the broker and does not do so to the one named by $OPSBRAIN_KAFKA")
        return int((self.data / "pid").read_text())

    def kill(self) -> None:
        """End our own broker without any warning; what is on its disk stays."""
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
            time.sleep(0.05)

    def start_again(self) -> None:
        """Start our own broker on what it had."""
        assert self.data is not None
        told = (self.data / "server.properties").read_text()
        ports = re.search(r"^listeners=PLAINTEXT://127.0.0.1:(\d+),CONTROLLER://127.0.0.1:(\d+)$", told, re.M)
        assert ports is not None
        port, controller_port = ports.groups()
        where = ["--data", str(self.data), "--port", port, "--controller-port", controller_port]
        started = run("start", *where)
        assert started.returncode == 0, started.stderr

    @contextmanager
    def away(self) -> Iterator[None]:
        """Be without a broker for a while."""
        self.kill()
        try:
            yield
        finally:
            self.start_again()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.kafka)


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the processes that tests start share compiled modules, also where writing them is switched off."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.getbasetemp() / "pycache"))
        yield


@pytest.fixture(scope="session")
def recorded(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A recording on two partitions a topic, and what one undisturbed worker made of it (`recorded.Recorded`)."""
    from tests.kafka.recorded import recorded_on

    with recorded_on(broker, tmp_path_factory.mktemp("recorded")) as made:
        yield made


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    named = os.environ.get("OPSBRAIN_KAFKA", "")
    if named:
        yield Broker(named, None)
        return
    check = run("check")
    if check.returncode != 0:
        unavailable(check.stderr.strip())
    data = tmp_path_factory.mktemp("kafka")
    port, controller_port = free_ports()
    ports = ["--port", str(port), "--controller-port", str(controller_port)]
    started = run("start", "--data", str(data), *ports)
    if started.returncode != 0:
        pytest.fail(started.stderr.strip(), pytrace=False)
    try:
        yield Broker(f"127.0.0.1:{port}", data)
    finally:
        run("stop", "--data", str(data))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    # `start` returns because the broker writes to files of its own and holds none of these pipes.
    return subprocess.run([str(RUN), *arguments], capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False)


def unavailable(reason: str) -> None:
    """Skip with the reason, or fail where the broker is required (`OPSBRAIN_REQUIRE=kafka,...`, as CI sets it)."""
    required = [part.strip() for part in os.environ.get("OPSBRAIN_REQUIRE", "").split(",")]
    if "kafka" in required:
        pytest.fail(f"OPSBRAIN_REQUIRE names kafka, but: {reason}", pytrace=False)
    pytest.skip(reason)


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]
