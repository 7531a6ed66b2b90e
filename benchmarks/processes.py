"""What processes cost: processor seconds and memory, as Linux counts them (`proc(5)`)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_UTIME, _CUTIME = 11, 13  # fields of `stat`, counted from 0 behind the name


def cpu_s(pids: Iterable[int]) -> float:
    """Return the processor seconds of these processes, their threads and all their children, ended ones included."""
    return sum(_ticks(one) for pid in pids for one in family(pid)) / _TICKS_A_SECOND


def peak_rss_mb(pids: Iterable[int]) -> float:
    """Return the largest memory (VmHWM) of these processes and their living children together, 0 if gone."""
    return sum(_status_kb(one, "VmHWM") for pid in pids for one in family(pid)) / 1024


def rss_mb(pids: Iterable[int]) -> float:
    """Return the memory (VmRSS) of these processes and their living children at this moment."""
    return sum(_status_kb(one, "VmRSS") for pid in pids for one in family(pid)) / 1024


def family(pid: int) -> Iterator[int]:
    """Yield a process and its living descendants."""
    yield pid
    for child in _children(pid):
        yield from family(child)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in _PROC.glob(f"{pid}/task/*/children"):
        try:
            found += [int(one) for one in task.read_text().split()]
        except OSError:
            continue
    return found


def _ticks(pid: int) -> int:
    try:
        # a process may be named anything, parentheses included: what counts is behind the last one
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    # its own time (all threads) and that of children which it has waited for
    return sum(int(one) for one in fields[_UTIME : _CUTIME + 2])


def _status_kb(pid: int, name: str) -> int:
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)
