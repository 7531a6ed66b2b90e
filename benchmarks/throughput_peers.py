"""Runs the floor, the peers and Drain3 of `bench throughput`, each in a process of its own.

Peers live in an environment of their own in the cache folder, made from `benchmarks/peers/requirements.txt` the first
time ($OPSBRAIN_BENCH_PEERS names a Python that has them already). What cannot be installed is skipped, with the reason.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.broker import Broker
from benchmarks.fill import Filled
from engine.errors import SourceError

PYTHON: Final = "OPSBRAIN_BENCH_PEERS"
PEERS: Final[Mapping[str, tuple[str, float]]] = {
    "bytewax_river": ("bytewax_river.py", 1.0),
    "quix_streams": ("quix_streams.py", 1.0),
    "faust_agent": ("faust_agent.py", 0.2),
}
"""Each peer's program, and its share of the messages that the quick ones get: it is that much slower."""

_FOLDER: Final = Path(__file__).parent / "peers"
_INSTALL_S: Final = 300
_RUN_S: Final = 240


@dataclass(frozen=True, slots=True)
class Took:
    """What somebody else's program took for so many messages; `skipped` says why there is nothing."""

    name: str
    items: int = 0
    cpu_s: float = 0.0
    skipped: str = ""

    @property
    def rate(self) -> float:
        """Return items a core-second; NaN where it was skipped."""
        return self.items / self.cpu_s if self.cpu_s else float("nan")


def floor(broker: Broker, filled: Filled, total: int) -> Took:
    """Return what an empty loop takes to consume messages of this topic."""
    arguments = [broker.bootstrap, filled.topic, str(filled.partitions), str(min(total, filled.sent))]
    command = [sys.executable, "-m", "benchmarks.throughput_floor", *arguments]
    done = subprocess.run(command, cwd=_FOLDER.parents[1], capture_output=True, timeout=_RUN_S, check=False)
    if done.returncode:
        raise SourceError(f"bench: the empty loop failed: {_last(done.stderr)}")
    return _took("floor", done.stdout)


def peers(broker: Broker, filled: Filled, total: int, warm: int) -> list[Took]:
    """Return what the peers take, each for its share of the first `total` messages less the first `warm`."""
    python = environment()
    if isinstance(python, str):
        return [Took(name, skipped=python) for name in PEERS]
    found = []
    for name, (program, share) in PEERS.items():
        numbers = [str(int(warm * share)), str(int(min(total, filled.items) * share))]
        found.append(_run(name, python, [program, broker.bootstrap, filled.topic, *numbers]))
    return found


def drain3(lines: Sequence[bytes]) -> Took:
    """Return what Drain3 with its example masking takes for these lines, in memory and one after the other."""
    python = environment()
    if isinstance(python, str):
        return Took("drain3", skipped=python)
    with tempfile.NamedTemporaryFile(suffix=".log") as file:
        file.write(b"\n".join(lines))
        file.flush()
        return _run("drain3", python, ["drain3_loop.py", file.name])


def environment() -> Path | str:
    """Return the Python of the peers' environment, made if it is new; or why there is none."""
    if named := os.environ.get(PYTHON, ""):
        return Path(named) if Path(named).exists() else f"{PYTHON} names {named}, which does not exist"
    wanted = (_FOLDER / "requirements.txt").read_bytes()
    folder = _cache() / f"bench-peers-{hashlib.sha256(wanted).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if python.exists():
        return python
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        problem = _install(fresh)
        if not problem:
            fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return problem or python


def _install(folder: Path) -> str:
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    steps = (
        [uv, "venv", "-q", "--relocatable", "--python", sys.executable, str(folder)],
        [uv, "pip", "sync", "-q", "--python", str(folder / "bin" / "python"), str(_FOLDER / "requirements.txt")],
    )
    try:
        for step in steps:
            done = subprocess.run(step, capture_output=True, timeout=_INSTALL_S, check=False)
            if done.returncode:
                return f"not installed: {_last(done.stderr)}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"not installed: {error}"
    return ""


def _run(name: str, python: Path, arguments: Sequence[str]) -> Took:
    with tempfile.TemporaryDirectory(prefix="opsbrain-bench-peer-") as folder:
        out = Path(folder) / "result.json"
        log = Path(folder) / "log"
        with log.open("wb") as said:
            process = subprocess.Popen(
                [str(python), str(_FOLDER / arguments[0]), *arguments[1:], str(out)],
                cwd=folder,
                stdout=said,
                stderr=said,
            )
            try:
                process.wait(_RUN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if not out.exists():
            return Took(name, skipped=f"it ended without a result: {_last(log.read_bytes())}")
        return _took(name, out.read_bytes())


def _took(name: str, result: bytes) -> Took:
    found = msgspec.json.decode(result)
    return Took(name, found["items"], found["cpu_s"])


def _cache() -> Path:
    named = os.environ.get("OPSBRAIN_CACHE", "")
    folder = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "opsbrain"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _last(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"
