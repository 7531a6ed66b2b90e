"""`opsbrain bench ingest`: from bytes in memory to Records, on one core: samples, lines and points a second.

Entities, scrubbing, the identity of rows and the limit of series are on, as in production. In the same run, message by
message, go plain loops (see `ingest_plain`), so that a figure can be compared on another machine. What counts is the
processor's time, so that a shared machine gives about the figure of a quiet one.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from time import process_time
from typing import Any, Final

import msgspec
import numpy as np

from benchmarks import ingest_plain
from benchmarks.ingest_data import Cluster, Sent
from engine.cardinality import SeriesLimit, SeriesLimitConfig
from engine.errors import SourceError
from engine.ports import Format
from ingest.identity import Identity
from ingest.registry import format_of

FLOORS: Final = {"adapter_json": 1_000_000, "remote_write": 400_000, "fluentbit_json": 300_000, "otlp_metrics": 200_000}
"""Items a second that each is to reach."""

_FORMATS: Final = {
    "adapter_json": ("prometheus-adapter", 20_000),
    "remote_write": ("prometheus-remote-write", 20),
    "remote_write_v2": ("prometheus-remote-write", 20),
    "fluentbit_json": ("fluentbit", 20_000),
    "otlp_metrics": ("otlp-metrics", 100),
}
"""Wire format of each case, and how many messages come in one batch."""

_ROUNDS: Final = 5
_FEW: Final = 4  # one message in so many goes through the slow loops
_THREADS: Final = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_TIMEOUT_S: Final = 600


def run(data: Path | None = None) -> dict[str, Any]:
    """Return the result: `<case>_per_s`, `ratio_<case>` to a plain loop, `ratio_bare_<case>` to one that only parses.

    Runs in a process of its own, since a library asks only once how many threads it may have. `data` is not used: what
    is decoded is generated. Raises SourceError when a package of the extra `dev` is missing.
    """
    command = [sys.executable, "-m", "benchmarks.ingest"]
    done = subprocess.run(
        command,
        env={**os.environ, **dict.fromkeys(_THREADS, "1")},
        capture_output=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise SourceError(done.stderr.decode(errors="replace").strip().rpartition("\n")[2] or "bench ingest: failed")
    result: dict[str, Any] = msgspec.json.decode(done.stdout)
    return result


def measured() -> dict[str, Any]:
    """Return the result, measured in this process."""
    cluster = Cluster()
    bare, same = ingest_plain.bare(), ingest_plain.same_rows()
    metrics: dict[str, Any] = {}
    for name, (format, batch) in _FORMATS.items():
        sent: Sent = getattr(cluster, name)()
        ours = sent.items / _best(_ours(format, batch, sent))
        metrics[f"{name}_per_s"] = round(ours)
        for said, loops in (("", same), ("bare_", bare)):
            if name in loops:
                part = sent.bodies[::_FEW]
                plain = _items(sent, part) / _best(_looping(loops[name], part, batch))
                metrics[f"plain_{said}{name}_per_s"] = round(plain)
                metrics[f"ratio_{said}{name}"] = round(ours / plain, 2)
    return {"name": "ingest", "version": version("opsbrain"), "data": _machine(), "metrics": metrics, "cases": []}


def _ours(format: str, batch: int, sent: Sent) -> Callable[[], float]:
    """Return what decodes all once, in a format that has seen the warming messages, and returns the seconds."""

    def once() -> float:
        decoder, limit = format_of(format, Identity("bench")), SeriesLimit(SeriesLimitConfig())
        _decode(decoder, limit, sent.warm, batch)
        start = process_time()
        rows, letters = _decode(decoder, limit, sent.bodies, batch)
        took = process_time() - start
        if letters or rows < sent.items:
            raise SourceError(f"bench ingest: {format} gave {rows} rows and {letters} letters of {sent.items} items")
        return took

    return once


def _decode(decoder: Format, limit: SeriesLimit, bodies: Sequence[bytes], batch: int) -> tuple[int, int]:
    rows = letters = 0
    for start in range(0, len(bodies), batch):
        part = bodies[start : start + batch]
        decoded = decoder.decode(part, range(start, start + len(part)), "bench")
        if decoder.kind == "metrics":
            closed_ms = np.zeros(decoded.rows.height, np.int64)
            rows += int(limit.admit(decoded.rows, closed_ms)[0].sum())
        else:
            rows += decoded.rows.height
        letters += len(decoded.letters)
    return rows, letters


def _looping(loop: ingest_plain.Loop, bodies: Sequence[bytes], batch: int) -> Callable[[], float]:
    def once() -> float:
        begin = process_time()
        for start in range(0, len(bodies), batch):
            loop(bodies[start : start + batch])
        return process_time() - begin

    return once


def _best(once: Callable[[], float]) -> float:
    """Return the shortest of some rounds: what else the machine did is not what is measured."""
    return min(once() for _ in range(_ROUNDS))


def _items(sent: Sent, part: Sequence[bytes]) -> float:
    """Return how many items a part of the messages holds, which hold about as many each."""
    return sent.items * len(part) / len(sent.bodies)


def _machine() -> str:
    return f"generated; Python {platform.python_version()} on {platform.machine()}, one core"


def _floors_missed(metrics: Mapping[str, Any]) -> list[str]:
    return [name for name, floor in FLOORS.items() if metrics[f"{name}_per_s"] < floor]


def main() -> None:
    """Measure here, on one core where the system can be told so, and write the result as JSON."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    try:
        sys.stdout.buffer.write(msgspec.json.encode(measured()))
    except SourceError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
