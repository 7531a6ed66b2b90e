"""What the kernel says of this process: CPU time, resident memory, threads, open files. Linux only (/proc)."""

import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks.testbed.exposition import Sample

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def samples() -> Iterator[Sample]:
    """Yield the process metrics under the names that Prometheus client libraries use."""
    used = os.times()
    yield Sample("process_cpu_seconds_total", {}, round(used.user + used.system, 3))
    yield Sample("process_resident_memory_bytes", {}, float(_resident_pages() * _PAGE_BYTES))
    yield Sample("process_open_fds", {}, float(len(os.listdir("/proc/self/fd"))))
    yield Sample("process_threads", {}, float(len(os.listdir("/proc/self/task"))))


def _resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
